"""Measures image quality and temporal consistency, together with other networks for the same style images.

    python -m tools.bench.quality --clips DIR --paintings DIR --peers DIR --judge vgg19_normalised_conv3_1.pth

`--clips` holds a folder of JPEG frames per clip (five DAVIS sequences), `--judge` is AdaIN's normalised VGG-19, `--peers` the
networks to compare with. Frames are 640x360; distances are those of `tools.bench.judge`, means over five frames of 17. The
warping error is that of `vidstyle.temporal.metrics`, between neighbouring frames and between frames 8 apart; the excess is the
difference from the input's, after averaging over clips. For the middle frame of every clip, each of our nets is also compared
with the best result of optimizing the pixels (`tools.bench.optimum`).

Results are merged into those that --output already holds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from tools.bench.judge import PAINTINGS, SIZE, Judge, image
from tools.bench.optimum import optimum, total
from vidstyle.conversion.convert import SHOT_FRAMES, convert
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.hardware import machine_details
from vidstyle.core.options import ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sinks import open_video_sink
from vidstyle.studio.perceptual.encoder import Features, load_encoder
from vidstyle.studio.training.photos import read_image
from vidstyle.styles.catalog import read_catalog, shipped_folder
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.flow import Flow
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

ROOT = Path(__file__).resolve().parents[2]
FRAMES, JUDGED, FAR = 17, 5, 8
MIDDLE = FRAMES // 2
"""The frame whose optimum is computed."""
COMMAND = "python -m tools.bench.quality --clips davis --paintings paintings --peers peers --judge vgg19_normalised_conv3_1.pth"
Stabilize = Literal["off", "light", "strong"]


@dataclass(frozen=True)
class Net:
    """A network to judge, the file name of its style image, and how its file is read."""

    label: str
    painting: str
    style: str
    stabilize: Stabilize = "off"
    color: Literal["rgb", "bgr"] = "rgb"


def label(style: str) -> str:
    """The label of our net for a style, given by name or file."""
    return f"{Path(style).stem}, vidstyle"


def nets(peers: Path, ours: Iterable[str]) -> list[Net]:
    """Our nets, with and without stabilisation, and those of others. Mosaics are judged by the image that each was trained on."""
    found = [
        Net(
            label(style) + ("" if stabilize == "off" else f", --stabilize {stabilize}"),
            PAINTINGS[Path(style).stem],
            style,
            stabilize,
        )
        for style in ours
        for stabilize in ("off", "light", "strong")
    ]
    others: list[tuple[str, str, str, Literal["rgb", "bgr"]]] = [
        ("udnie, 32-64-128", "udnie.jpg", "transformernet_full_udnie.onnx", "rgb"),
        ("great-wave, 32-64-128", "great_wave.jpg", "transformernet_full_wave.onnx", "rgb"),
        ("scream, 32-64-128", "the_scream.jpg", "transformernet_full_scream.onnx", "rgb"),
        ("mosaic, 16-32-64, 720x720", "mosaic_ducks.jpg", "transformernet_16_mosaic.onnx", "bgr"),
        ("udnie, 16-32-64, 720x720", "udnie.jpg", "transformernet_16_udnie.onnx", "bgr"),
        ("mosaic, 16 channels", "mosaic_ducks.jpg", "transformernet_nc16_mosaic.pth", "rgb"),
        ("udnie, 16 channels", "udnie.jpg", "transformernet_nc16_udnie.pth", "rgb"),
        ("mosaic, 8 channels", "mosaic_ducks.jpg", "transformernet_nc8_mosaic.pth", "rgb"),
        ("udnie, 8 channels", "udnie.jpg", "transformernet_nc8_udnie.pth", "rgb"),
    ]
    return found + [Net(name, painting, str(peers / file), "off", color) for name, painting, file, color in others]


def load_clip(folder: Path) -> list[Pixels]:
    """All frames of a clip, RGB 640x360."""
    frames = [read_image(path) for path in sorted(folder.glob("*.jpg"))]
    return [np.asarray(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA), np.uint8) for frame in frames]


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """`count` items from the first to the last."""
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


_dis = Flow("medium")
_flows: dict[tuple[bytes, bytes], np.ndarray] = {}


def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The input's flow, the same for every network."""
    key = first.tobytes(), second.tobytes()
    if key not in _flows:
        _flows[key] = _dis(first, second)
    return _flows[key]


def stylize_clip(stylizer: Stylizer, clip: Sequence[Pixels], stabilize: Stabilize) -> list[Pixels]:
    """The first frames of a clip, stylized as in a conversion."""
    shot = stylizer.for_shot(spread_over_shot(clip, SHOT_FRAMES))
    stylized = [shot.stylize([frame])[0] for frame in clip[:FRAMES]]
    if stabilize == "off":
        return stylized
    stabilizer = Stabilizer(stabilize)
    return [stabilizer.process(frame, image, i == 0) for i, (frame, image) in enumerate(zip(clip, stylized, strict=False))]


def judge_clip(judge: Judge, clip: Sequence[Pixels], stylized: Sequence[Pixels], style: Sequence[Features]) -> dict[str, float]:
    """All figures of one net on one clip."""
    judged = evenly(list(zip(clip, stylized, strict=False)), JUDGED)
    pairs = [judge.distances(frame, result, style) for frame, result in judged]
    figures = {key: float(np.mean([pair[key] for pair in pairs])) for key in pairs[0]}
    for name, distance in (("warping_error", 1), (f"warping_error_{FAR}_apart", FAR)):
        metric = WarpingError(distance, flow)
        for pair in zip(clip, stylized, strict=False):
            metric.add(*pair)
        figures |= {name: metric.stylized, f"{name}_of_input": metric.source}
    return figures


def over_clips(by_clip: dict[str, dict[str, float]]) -> dict[str, float]:
    """Means over clips; the excess is computed from the means."""
    keys = next(iter(by_clip.values()))
    figures = {key: float(np.mean([clip[key] for clip in by_clip.values()])) for key in keys}
    for name in ("warping_error", f"warping_error_{FAR}_apart"):
        figures[f"excess_{name}"] = max(0.0, figures[name] - figures[f"{name}_of_input"])
    return figures


def compare(results: dict[str, Any]) -> dict[str, Any]:
    """Ratios of our nets to the full net for the same style image; below 1 is better."""
    keys = ("style", "broad_style", "content", "excess_warping_error", f"excess_warping_error_{FAR}_apart")
    ratios: dict[str, Any] = {}
    for name, figures in results.items():
        reference = results.get(full_net(name))
        if reference and ", vidstyle" in name:
            ratios[name] = {key: figures["mean"][key] / reference["mean"][key] for key in keys}
            print(f"{name:40}", "  ".join(f"{k} {v:.3f}x" for k, v in ratios[name].items()))
    return ratios


def full_net(name: str) -> str:
    """The label of the full net for the same style image."""
    return f"{name.split(',')[0]}, 32-64-128"


def seconds_end_to_end(clip: Sequence[Pixels], chosen: Sequence[Net]) -> dict[str, float]:
    """Seconds of a conversion from file to file by label, the better of two runs, with the same clip for all."""
    with tempfile.TemporaryDirectory() as name:
        source, rate = Path(name) / "clip.mp4", 25
        info = VideoInfo(*SIZE, time_base=Fraction(1, rate), frame_rate=Fraction(rate))
        with closing(open_video_sink(source, info, EncodeOptions(crf=12))) as sink:
            for i, pixels in enumerate(clip):
                sink.write(Frame(pixels, i, Fraction(1, rate)))
            sink.publish()
        seconds = {}
        for net in chosen:
            options = ConvertOptions(
                StyleOptions(net.style, "cpu", model_color=net.color), stabilize=net.stabilize, overwrite=True
            )
            stylizer = load_stylizer(options.style)
            runs = []
            for _ in range(2):
                began = time.perf_counter()
                convert(str(source), Path(name) / "out.mp4", stylizer, options)
                runs.append(time.perf_counter() - began)
            seconds[net.label] = min(runs)
    return seconds


def judge_nets(judge: Judge, clips: dict[str, list[Pixels]], chosen: Sequence[Net], paintings: Path) -> dict[str, Any]:
    """The figures of every net, by label."""
    results: dict[str, Any] = {}
    for net in chosen:
        style = judge.grams(image(net.painting, paintings))
        stylizer = load_stylizer(StyleOptions(net.style, "cpu", model_color=net.color))
        by_clip = {n: judge_clip(judge, c, stylize_clip(stylizer, c, net.stabilize), style) for n, c in clips.items()}
        results[net.label] = {"painting": net.painting, "mean": over_clips(by_clip), "clips": by_clip}
        print(f"{net.label:40}", "  ".join(f"{k} {v:.5f}" for k, v in results[net.label]["mean"].items()), flush=True)
    return results


def optima(judge: Judge, clips: dict[str, list[Pixels]], style: str, paintings: Path) -> dict[str, Any]:
    """Our net of a style compared with its optimum, on the middle frame of every clip: distances and their total, and ratios of
    means (net over optimum)."""
    name = PAINTINGS[Path(style).stem]
    grams, stylizer = judge.grams(image(name, paintings)), load_stylizer(StyleOptions(style, "cpu"))
    by_clip = {}
    for clip, frames in clips.items():
        source = frames[MIDDLE]
        stylized = stylizer.for_shot(spread_over_shot(frames, SHOT_FRAMES)).stylize([source])[0]
        began = time.perf_counter()
        _, best = optimum(judge, source, stylized, grams)
        seconds = time.perf_counter() - began
        own = judge.distances(source, stylized, grams)
        by_clip[clip] = {who: {**d, "total": total(d)} for who, d in (("net", own), ("optimum", best))}
        print(f"{style:20} {clip:20} {total(own):.4f} -> {total(best):.4f} in {seconds:.0f} s", flush=True)
    mean = {
        who: {
            key: float(np.mean([c[who][key] for c in by_clip.values()])) for key in ("style", "broad_style", "content", "total")
        }
        for who in ("net", "optimum")
    }
    ratios = {key: value / mean["optimum"][key] for key, value in mean["net"].items()}
    return {"painting": name, "mean": {**mean, "net_over_optimum": ratios}, "clips": by_clip}


def speeds(clip: Sequence[Pixels], chosen: Sequence[Net]) -> dict[str, Any]:
    """How much faster our chosen nets are than the full net for the same style image."""
    labels = {net.label for net in chosen}
    pairs = {n: full_net(n) for n in (net.label for net in chosen) if ", vidstyle" in n and full_net(n) in labels}
    seconds = seconds_end_to_end(clip, [net for net in chosen if net.label in {*pairs, *pairs.values()}])
    found = {}
    for ours, theirs in pairs.items():
        found[ours] = {"ours": seconds[ours], "theirs": seconds[theirs], "faster_by": seconds[theirs] / seconds[ours]}
        print(f"{ours:40} {found[ours]['faster_by']:.1f}x as fast as the full net")
    return found


def note(path: Path, part: str, found: dict[str, Any]) -> dict[str, Any]:
    """Merge the figures of a part into the results, in the order of `nets`."""
    results: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    order = [net.label for net in nets(Path(), PAINTINGS)] + list(PAINTINGS)
    both = {**results.get(part, {}), **found}
    results["command"] = COMMAND
    if part == "end_to_end" or "machine" not in results:  # nothing else depends on it
        results["machine"] = machine_details(torch.get_num_threads())
    results[part] = {name: both[name] for name in sorted(both, key=order.index)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return results


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--style", action="append", help="one of our styles, repeatable; default: all shipped styles")
    parser.add_argument("--only", default="", help="only nets whose label contains this")
    parser.add_argument("--no-speed", action="store_true")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--no-optimum", action="store_true")
    part.add_argument("--optimum-only", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "quality.json")
    args = parser.parse_args()
    args.style = args.style or list(read_catalog(shipped_folder()))
    for style in args.style:
        if Path(style).stem not in PAINTINGS:
            parser.error(f"expected a style whose style image is known ({', '.join(PAINTINGS)}), got {style}")
    return args


def main() -> None:
    args = arguments()
    judge = Judge(load_encoder(args.judge))
    clips = {folder.name: load_clip(folder) for folder in sorted(args.clips.iterdir()) if folder.is_dir()}
    chosen = [net for net in nets(args.peers, args.style) if args.only in net.label]
    if not args.optimum_only:
        results = note(args.output, "nets", judge_nets(judge, clips, chosen, args.paintings))
        note(args.output, "ratios_to_full_net", compare(results["nets"]))
        if not args.no_speed:
            note(args.output, "end_to_end", speeds(max(clips.values(), key=len), chosen))
    if not args.no_optimum:
        for style in (net.style for net in chosen if net.label == label(net.style)):
            note(args.output, "gatys", {Path(style).stem: optima(judge, clips, style, args.paintings)})


if __name__ == "__main__":
    main()
