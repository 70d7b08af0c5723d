"""Measures the effect and the cost of the controls: strength, blends, stroke scale, and the speed of each.

    python -m tools.bench.controls [--part strength] [--rounds 5] [--judge vgg19_normalised_conv3_1.pth]

Everything is measured on the project's sample. Style distances are those of `tools.bench.judge`, from the shipped exemplars,
as means over five frames. Results are written to tools/bench/results/controls.json, part by part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from tools.bench.judge import Judge
from tools.bench.measurement import RESULTS, SAMPLE, measure, print_progress
from tools.bench.texture import growth, pink_noise, power_by_wavelength
from vidstyle.conversion.convert import SHOT_FRAMES, SHOT_SECONDS, convert
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import ConvertOptions, StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sinks import open_image_sink, open_video_sink
from vidstyle.sources import open_source
from vidstyle.studio.perceptual.encoder import Features, find_encoder
from vidstyle.studio.training.photos import read_image
from vidstyle.styles.catalog import find_exemplar, read_catalog, shipped_folder
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.shots import spread_over_shot

JUDGED = 5
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STROKE_SCALES = (0.5, 2.0)
NOISES = 4
FAMILY_BLEND, PIXEL_BLEND = "udnie:0.5,great-wave:0.5", "mosaic:0.5,great-wave:0.5"


class Sample:
    """The frames of the sample; stylizes and judges them."""

    def __init__(self, encoder: str, styles: Sequence[str]) -> None:
        with closing(open_source(str(SAMPLE))) as source:
            self.info, frames = source.info, list(source.frames())
        self.frames = [frame.pixels for frame in frames]
        in_shot = [f.pixels for f in frames if f.pts * f.time_base <= SHOT_SECONDS]
        self.shot = spread_over_shot(in_shot, SHOT_FRAMES)
        self.judged = [self.frames[round(i * (len(frames) - 1) / (JUDGED - 1))] for i in range(JUDGED)]
        self.styles = styles
        self._judge = Judge(find_encoder(encoder))
        self.style_grams = {style: self._judge.grams(read_image(find_exemplar(style))) for style in self.styles}

    def stylized(self, images: Sequence[Pixels], style: str, **controls: Any) -> list[Pixels]:
        """Images of the sample's shot, stylized as in a conversion."""
        stylizer = load_stylizer(StyleOptions(style, "cpu", **controls)).for_shot(self.shot)
        return [stylizer.stylize([image])[0] for image in images]

    def distance(self, stylized: Sequence[Pixels], style: Sequence[Features]) -> float:
        """Style distance of the judged frames."""
        pairs = zip(self.judged, stylized, strict=True)
        return round(float(np.mean([self._judge.distances(*pair, style)["style"] for pair in pairs])), 5)


def strength(sample: Sample) -> dict[str, Any]:
    """Whether strength leads from the original to the style: PSNR in dB at both ends, style distances between."""
    found: dict[str, Any] = {}
    for style in sample.styles:
        stylized = {s: sample.stylized(sample.judged, style, strength=s) for s in STRENGTHS}
        distances = [sample.distance(stylized[s], sample.style_grams[style]) for s in STRENGTHS]
        found[style] = {
            "psnr_of_0_to_input": psnr(sample.judged, stylized[0.0]),
            "psnr_of_1_to_style": psnr(sample.stylized(sample.judged, style), stylized[1.0]),
            "style_distance": distances,
            "falls": all(first > second for first, second in pairwise(distances)),
        }
        print_progress(f"{style} {found[style]}")
    return {"strengths": STRENGTHS, "styles": found, "styles_that_fall": sum(s["falls"] for s in found.values())}


def psnr(first: Sequence[Pixels], second: Sequence[Pixels]) -> float | None:
    """In dB over all images; None where they are equal."""
    error = np.mean([np.square(a.astype(np.float32) - b).mean() for a, b in zip(first, second, strict=True)])
    return round(float(10 * np.log10(255**2 / error)), 2) if error else None


def blends(sample: Sample) -> dict[str, Any]:
    """Whether blends lie between their styles: style distances from both, at weights of the second from 0 to 1."""
    found: dict[str, Any] = {}
    for pair in combinations(sample.styles, 2):
        first, second = pair
        styles = [f"{first}:{1 - s:g},{second}:{s:g}" if 0 < s < 1 else pair[round(s)] for s in STRENGTHS]
        stylized = [sample.stylized(sample.judged, style) for style in styles]
        from_both = [[sample.distance(p, sample.style_grams[style]) for p in stylized] for style in pair]
        between = all(min(d[0], d[-1]) <= x <= max(d[0], d[-1]) for d in from_both for x in d)
        found[f"{first}, {second}"] = {"from_first": from_both[0], "from_second": from_both[1], "between": between}
        print_progress(f"{pair} {found[f'{first}, {second}']}")
    return {"shares_of_second": STRENGTHS, "pairs": found, "pairs_between": sum(p["between"] for p in found.values())}


def stroke_scale(sample: Sample) -> dict[str, Any]:
    """Whether strokes grow: wavelengths of stylized noise relative to those at scale 1, see `tools.bench.texture`."""
    found: dict[str, Any] = {}
    noises = [pink_noise(seed) for seed in range(NOISES)]
    for style in sample.styles:
        power: dict[float, Any] = {}
        for scale in (1.0, *STROKE_SCALES):
            stylizer = load_stylizer(StyleOptions(style, "cpu", stroke_scale=scale)).for_shot(noises)
            power[scale] = sum(power_by_wavelength(stylizer.stylize([noise])[0]) for noise in noises)
        found[style] = {f"{scale:g}": round(growth(power[scale], power[1.0]), 3) for scale in STROKE_SCALES}
        print_progress(f"{style} {found[style]}")
    return {"wavelengths_over_those_at_1": found}


def speed(sample: Sample, rounds: int, scratch: Path) -> dict[str, Any]:
    """Frames per second with a control relative to those without, each measured right after one without; medians over rounds."""
    image, video = mask_image(sample, scratch / "mask.png"), mask_video(sample, scratch / "mask.mp4")
    middle = len(sample.frames) / float(sample.info.frame_rate or 25) / 2
    controls: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "strength": ({"strength": 0.5}, {}),
        "blend of a family": ({"style": FAMILY_BLEND}, {}),
        "blend of two nets": ({"style": PIXEL_BLEND}, {}),
        "timeline, one fade of 1 s": ({"style": f"0:mosaic,{middle:g}:great-wave"}, {}),
        "own colours": ({}, {"preserve_color": True}),
        "mask, an image": ({}, {"mask": str(image)}),
        "mask, a video": ({}, {"mask": str(video)}),
        "stroke scale 2": ({"stroke_scale": 2.0}, {}),
        "stroke scale 0.5": ({"stroke_scale": 0.5}, {}),
        "family, strength, own colours and mask": (
            {"style": FAMILY_BLEND, "strength": 0.5},
            {"preserve_color": True, "mask": str(image)},
        ),
    }
    plain = StyleOptions(device="cpu")
    stylizers: dict[str | None, Stylizer] = {
        None: load_stylizer(plain),
        **{n: load_stylizer(StyleOptions(device="cpu", **s)) for n, (s, _) in controls.items()},
    }

    def seconds(name: str | None) -> float:
        style, rest = controls[name] if name else ({}, {})
        options = ConvertOptions(StyleOptions(device="cpu", **style), overwrite=True, **rest)
        began = time.perf_counter()
        convert(str(SAMPLE), scratch / "out.mp4", stylizers[name], options)
        return time.perf_counter() - began

    seconds(None)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in controls}
    for number in range(rounds):
        for name, pairs in runs.items():
            pairs.append((seconds(None), seconds(name)))
            print_progress(f"round {number + 1}, {name}: {pairs[-1][0]:.2f} s without, {pairs[-1][1]:.2f} s with")
    return {
        "frames": len(sample.frames),
        "fps_without": round(len(sample.frames) / median(s for pairs in runs.values() for s, _ in pairs), 1),
        "fps_over_without": {name: round(median(s / own for s, own in pairs), 3) for name, pairs in runs.items()},
    }


def ellipse(sample: Sample, center: float) -> Pixels:
    """A mask of a frame's size: a soft white ellipse around `center` (0..1) of the width."""
    width, height = sample.info.width, sample.info.height
    black = np.zeros((height, width, 3), np.uint8)
    cv2.ellipse(black, (round(center * width), height // 2), (width // 4, height // 3), 0, 0, 360, (255, 255, 255), -1)
    return np.asarray(cv2.GaussianBlur(black, (0, 0), 8), np.uint8)


def mask_image(sample: Sample, path: Path) -> Path:
    with closing(open_image_sink(path, overwrite=True)) as sink:
        sink.write(Frame(ellipse(sample, 0.5), 0, Fraction(1)))
        sink.publish()
    return path


def mask_video(sample: Sample, path: Path) -> Path:
    """A video of the ellipse moving from left to right."""
    with closing(open_source(str(SAMPLE))) as source, closing(open_video_sink(path, source.info)) as sink:
        for number, frame in enumerate(source.frames()):
            pixels = ellipse(sample, number / len(sample.frames))
            sink.write(Frame(pixels, frame.pts, frame.time_base, frame.duration))
        sink.publish()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("strength", "blends", "stroke_scale", "speed"))
    parser.add_argument("--style", action="append", help="a style, repeatable; default: all shipped styles")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--judge", default="compact", help="the encoder that judges; default: the shipped one")
    parser.add_argument("--json", type=Path, default=RESULTS / "controls.json")
    args = parser.parse_args()
    sample = Sample(args.judge, args.style or sorted(read_catalog(shipped_folder())))
    parts = {
        "strength": lambda scratch: strength(sample),
        "blends": lambda scratch: blends(sample),
        "stroke_scale": lambda scratch: stroke_scale(sample),
        "speed": lambda scratch: speed(sample, args.rounds, scratch),
    }
    measure(parts, args.part, args.json)


if __name__ == "__main__":
    main()
