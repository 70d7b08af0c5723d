"""Measures `vidstyle keyframes`: time, temporal consistency, and distance from the style.

    python -m tools.bench.keyframes --clip bikes.mp4 --clip ... --painting starry_night.jpg --judge vgg19_normalised_conv3_1.pth

Each clip is scaled to a width of 640, cut to ten seconds at most, and stylized by `vidstyle keyframes` in a process of its own:
once from scratch, timed as a whole, and once more with the other propagation. 16 frames from the middle are also stylized
independently, as the first keyframe of a shot. Temporal consistency is the warping error of Lai et al. 2018
(`vidstyle.temporal.metrics`) over those frames, minus that of the input. The style distance is the relative squared error of
Gram matrices at relu1_1, relu2_1 and relu3_1 over three sizes (that of tools/bench/quality.py), of the stylized keyframes and
of five frames between keyframes, read back from the output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.bench.judge import Judge
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import machine_details
from vidstyle.core.options import PaintOptions
from vidstyle.sources import open_source
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer
from vidstyle.studio.perceptual.encoder import load_encoder
from vidstyle.studio.style_images import read_style_image
from vidstyle.studio.training.photos import read_image
from vidstyle.temporal.metrics import WarpingError

ROOT = Path(__file__).resolve().parents[2]
WIDTH, SECONDS, FRAMES = 640, 10, 16
PROPAGATIONS = ("warp", "net")


def frames_of(path: Path) -> list[Pixels]:
    """All frames of a video."""
    with closing(open_source(str(path))) as source:
        return [frame.pixels for frame in source.frames()]


def excess_warping_error(sources: Sequence[Pixels], stylized: Sequence[Pixels]) -> float:
    """The warping error of `stylized` minus that of `sources`."""
    metric = WarpingError()
    for source, image in zip(sources, stylized, strict=True):
        metric.add(source, image)
    return metric.stylized - metric.source


def measure(clip: Path, painting: Path, judge: Path, scratch: Path) -> dict[str, Any]:
    """The figures of one clip."""
    small = scratch / f"{clip.stem}.mp4"
    scale = ["-t", str(SECONDS), "-vf", f"scale={WIDTH}:-2", "-an", "-crf", "10", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", clip, *scale, small], check=True)
    sources, found = frames_of(small), dict[str, Any]()
    outputs = {}
    for propagation in PROPAGATIONS:
        out, work = scratch / f"{clip.stem}.{propagation}.mp4", scratch / f"{clip.stem}.work"
        command: list[str | Path] = [sys.executable, "-m", "vidstyle", "keyframes", small, "--style", painting]
        command += ["-o", out, "--work", work]
        began = time.monotonic()
        subprocess.run([*command, "--propagation", propagation, "--crf", "10"], check=True)
        found.setdefault("minutes", (time.monotonic() - began) / 60)
        outputs[propagation] = frames_of(out)
    plan = json.loads((work / "keyframes.json").read_text())
    keyframes = plan["keyframes"]
    found |= {"frames": len(sources), "size": f"{sources[0].shape[1]}x{sources[0].shape[0]}", "shots": len(plan["shots"])}
    found["keyframes"] = len(keyframes)
    first = max(s for s in plan["shots"] if s <= max(0, len(sources) // 2 - FRAMES))
    first = max(first, len(sources) // 2 - FRAMES)
    middle = slice(first, first + FRAMES)
    optimizer, independent = ImageOptimizer([read_style_image(painting)], PaintOptions()), []
    for frame in sources[middle]:
        *_, last = optimizer.optimize(frame)
        independent.append(optimizer.result(frame, last))
    found["excess_warping_error_each_alone"] = excess_warping_error(sources[middle], independent)
    net = Judge(load_encoder(judge))
    target = net.grams(read_image(painting))

    def style_distance(images: dict[int, Pixels]) -> float:
        return float(np.mean([net.distances(sources[n], image, target)["style"] for n, image in images.items()]))

    sampled = keyframes[:: max(1, len(keyframes) // 5)]
    found["style_distance_keyframes"] = style_distance({n: read_image(work / "stylized" / f"{n:06}.png") for n in sampled})
    between = [n for n in range(len(sources)) if n not in keyframes]
    chosen = between[:: max(1, len(between) // 5)][:5]
    for propagation, frames in outputs.items():
        found[f"excess_warping_error_{propagation}"] = excess_warping_error(sources[middle], frames[middle])
        found[f"style_distance_{propagation}"] = style_distance({n: frames[n] for n in chosen})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, action="append", required=True)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True, help="AdaIN's normalised VGG-19")
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "bench" / "results" / "keyframes.json")
    args = parser.parse_args()
    clips = " ".join(f"--clip {c.name}" for c in args.clip)
    command = f"python -m tools.bench.keyframes {clips} --painting {args.painting.name} --judge {args.judge.name}"
    results: dict[str, Any] = {"command": command, "machine": machine_details(torch.get_num_threads()), "clips": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for clip in args.clip:
            found = measure(clip, args.painting, args.judge, Path(scratch))
            results["clips"][clip.name] = found
            print(clip.name, found, flush=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
