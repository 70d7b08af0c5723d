"""Looks and steadiness, beside other networks of the same paintings and in one run with them.

    python tools/bench_quality.py --clips DIR --paintings DIR --peers DIR --judge vgg19_normalised_conv3_1.pth

`--clips` holds a folder of JPEG frames per clip (five DAVIS sequences), `--judge` is AdaIN's normalised VGG-19, `--peers` the
networks to compare with. Frames are 640x360, the painting's short side is 360. All distances are relative squared errors:
style of Gram matrices at relu1_1, relu2_1 and relu3_1, broad style at relu3_1 alone, content of features at relu3_1; means
over full, half and quarter size and five frames of 17. The warping error is that of `vidstyle.temporal.metrics`, between
neighbours and between frames 8 apart; the excess is what it has over the input's, means over clips first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from bench import machine
from torch import Tensor

from vidstyle.convert import SHOT_PICTURES, convert
from vidstyle.frames import Frame, Pixels, VideoInfo
from vidstyle.options import ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.sinks import open_video_sink
from vidstyle.stages import Stylizer
from vidstyle.studio.perceptual import Encoder, gram_matrix, load_encoder
from vidstyle.studio.photos import fit_short_side, read_image
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.flow import Flow
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

ROOT = Path(__file__).resolve().parent.parent
SIZE = (640, 360)
FRAMES, JUDGED, FAR = 17, 5, 8
LAYERS, BROAD = ("relu1_1", "relu2_1", "relu3_1"), "relu3_1"
SCALES = (1, 2, 4)
COMMAND = "python tools/bench_quality.py --clips davis --paintings paintings --peers peers --judge vgg19_normalised_conv3_1.pth"
DRAWN = "mosaic.png"
"""Drawn by tools/draw_mosaic.py."""
Stabilize = Literal["off", "light", "strong"]


@dataclass(frozen=True)
class Net:
    """A network to judge: against which painting, and how its file is read."""

    label: str
    painting: str
    style: str
    stabilize: Stabilize = "off"
    color: Literal["rgb", "bgr"] = "rgb"


def nets(peers: Path, ours: Iterable[str]) -> list[Net]:
    """Ours, with and without stabilisation, and theirs. Mosaics are judged by the picture that each was trained on."""
    paintings = {"udnie": "udnie.jpg", "great-wave": "great_wave.jpg", "scream": "the_scream.jpg", "mosaic": DRAWN}
    found = [
        Net(f"{style}, vidstyle" + ("" if how == "off" else f", --stabilize {how}"), paintings[Path(style).stem], style, how)
        for style in ours
        for how in ("off", "light", "strong")
    ]
    theirs = [
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
    return found + [Net(label, painting, str(peers / file), "off", color) for label, painting, file, color in theirs]  # type: ignore[arg-type]


def picture(name: str, folder: Path) -> Pixels:
    """A painting, RGB."""
    if name != DRAWN:
        return read_image(folder / name)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / DRAWN
        subprocess.run([sys.executable, ROOT / "tools" / "draw_mosaic.py", path], check=True)
        return read_image(path)


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


class Judge:
    """Distances of painted frames from a painting and from their inputs."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._of_inputs: dict[bytes, list[Tensor]] = {}

    def features(self, pixels: Pixels) -> list[dict[str, Tensor]]:
        """Of a picture at full, half and quarter size (block means)."""
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            return [self._encoder(F.avg_pool2d(image, s) if s > 1 else image, LAYERS) for s in SCALES]

    def distances(self, source: Pixels, painted: Pixels, painting: Sequence[dict[str, Tensor]]) -> dict[str, float]:
        """style, broad style and content distance of one frame; `painting` holds its Gram matrices."""
        of_output, key = self.features(painted), source.tobytes()
        if key not in self._of_inputs:
            self._of_inputs[key] = [features[BROAD] for features in self.features(source)]
        by_layer = {
            layer: np.mean([_relative(gram_matrix(out[layer]), own[layer]) for out, own in zip(of_output, painting, strict=True)])
            for layer in LAYERS
        }
        content = np.mean([_relative(out[BROAD], own) for out, own in zip(of_output, self._of_inputs[key], strict=True)])
        return {
            "style": float(np.mean(list(by_layer.values()))),
            "broad_style": float(by_layer[BROAD]),
            "content": float(content),
        }

    def grams(self, painting: Pixels) -> list[dict[str, Tensor]]:
        return [{k: gram_matrix(v) for k, v in f.items()} for f in self.features(fit_short_side(painting, SIZE[1]))]


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().sum() / wanted.square().sum())


def paint(stylizer: Stylizer, clip: Sequence[Pixels], stabilize: Stabilize) -> list[Pixels]:
    """The first frames of a clip, painted as a conversion does it."""
    shot = stylizer.for_shot(spread_over_shot(clip, SHOT_PICTURES))
    painted = [shot.stylize([frame])[0] for frame in clip[:FRAMES]]
    if stabilize == "off":
        return painted
    stabilizer = Stabilizer(stabilize)
    return [stabilizer.finish(frame, picture, i == 0) for i, (frame, picture) in enumerate(zip(clip, painted, strict=False))]


def judge_clip(
    judge: Judge, clip: Sequence[Pixels], painted: Sequence[Pixels], painting: Sequence[dict[str, Tensor]]
) -> dict[str, float]:
    """All figures of one net on one clip."""
    pairs = [judge.distances(*pair, painting) for pair in evenly(list(zip(clip, painted, strict=False)), JUDGED)]
    figures = {key: float(np.mean([pair[key] for pair in pairs])) for key in pairs[0]}
    for name, distance in (("warping_error", 1), (f"warping_error_{FAR}_apart", FAR)):
        meter = WarpingError(distance, flow)
        for source, picture in zip(clip, painted, strict=False):
            meter.add(source, picture)
        figures |= {name: meter.painted, f"{name}_of_input": meter.source}
    return figures


def over_clips(by_clip: dict[str, dict[str, float]]) -> dict[str, float]:
    """Means over clips; the excess is taken of the means."""
    keys = next(iter(by_clip.values()))
    figures = {key: float(np.mean([clip[key] for clip in by_clip.values()])) for key in keys}
    for name in ("warping_error", f"warping_error_{FAR}_apart"):
        figures[f"excess_{name}"] = max(0.0, figures[name] - figures[f"{name}_of_input"])
    return figures


def compare(results: dict[str, Any], ours: Sequence[str]) -> dict[str, Any]:
    """Ratios of ours to the full net of the same painting; below 1 is better."""
    keys = ("style", "broad_style", "content", "excess_warping_error", f"excess_warping_error_{FAR}_apart")
    ratios: dict[str, Any] = {}
    for style in (Path(s).stem for s in ours):
        reference = results.get(f"{style}, 32-64-128")
        for label, figures in results.items():
            if reference and label.startswith(f"{style}, vidstyle"):
                ratios[label] = {key: figures["mean"][key] / reference["mean"][key] for key in keys}
    return ratios


def seconds_end_to_end(clip: Sequence[Pixels], chosen: Sequence[Net]) -> dict[str, float]:
    """Label -> seconds of a conversion from file to file, the better of two, the same clip for all."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--style", action="append", help="ours, several times; default: the four that ship")
    parser.add_argument("--only", default="", help="only nets whose label contains this")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "results" / "quality.json")
    args = parser.parse_args()
    ours = args.style or ["udnie", "great-wave", "scream", "mosaic"]
    judge = Judge(load_encoder(args.judge))
    clips = {folder.name: load_clip(folder) for folder in sorted(args.clips.iterdir()) if folder.is_dir()}
    chosen = [net for net in nets(args.peers, ours) if args.only in net.label]
    chosen = [replace(net, label=net.label.replace(net.style, Path(net.style).stem)) for net in chosen]
    results: dict[str, Any] = {}
    for net in chosen:
        painting = judge.grams(picture(net.painting, args.paintings))
        stylizer = load_stylizer(StyleOptions(net.style, "cpu", model_color=net.color))
        by_clip = {n: judge_clip(judge, c, paint(stylizer, c, net.stabilize), painting) for n, c in clips.items()}
        results[net.label] = {"painting": net.painting, "mean": over_clips(by_clip), "clips": by_clip}
        print(f"{net.label:40}", "  ".join(f"{k} {v:.5f}" for k, v in results[net.label]["mean"].items()), flush=True)
    result = {"command": COMMAND, "machine": machine(torch.get_num_threads()), "nets": results}
    result["ratios_to_full_net"] = compare(results, ours)
    for label, ratios in result["ratios_to_full_net"].items():
        print(f"{label:40}", "  ".join(f"{k} {v:.3f}x" for k, v in ratios.items()))
    if not args.no_speed:
        ratios = result["ratios_to_full_net"]
        reference = {label: f"{label.split(',')[0]}, 32-64-128" for label in ratios}
        timed = [net for net in chosen if net.label in {*reference, *reference.values()}]
        seconds = seconds_end_to_end(max(clips.values(), key=len), timed)
        result["end_to_end"] = {
            label: {"ours": seconds[label], "theirs": seconds[other], "faster_by": seconds[other] / seconds[label]}
            for label, other in reference.items()
        }
        for label, speed in result["end_to_end"].items():
            print(f"{label:40} {speed['faster_by']:.1f}x as fast as the full net")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
