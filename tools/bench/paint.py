"""Optimized images: the recipe `best` compared with that of the paper, by the paper's loss with the same encoder.

    python -m tools.bench.paint --photos DIR --paintings DIR --vgg19 vgg19_features_fp16.pth

Per encoder, photographs and paintings are paired in the order of their names, photographs from the end of the folder first,
which were used least during development. `gatys` runs its 3,000 steps of Adam from the photograph; its loss curve is checked
to fall from every window of 50 steps to the next. Both images are compared as they are shown, clamped to [0, 1], in float32.
Times are those of the optimization alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import machine_details
from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize.gatys import ALPHA, Step
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer
from vidstyle.studio.style_images import StyleImage, read_style_image
from vidstyle.studio.training.photos import read_image

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m tools.bench.paint --photos large --paintings paintings --vgg19 vgg19_features_fp16.pth"
WINDOW = 50
PAIRS = (("compact", 512, 2), ("vgg19", 160, 1))
"""Encoder, long side of the images, number of pairs."""


def fitted(image: Pixels, long_side: int) -> Pixels:
    """`image` scaled so that its long side is `long_side`."""
    scale = long_side / max(image.shape[:2])
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def run(optimizer: ImageOptimizer, image: Pixels) -> tuple[Pixels, float, list[float], Step]:
    """The result, the seconds it took, the loss of every step, and the last step."""
    began, losses, step = time.monotonic(), [], None
    for step in optimizer.optimize(image):
        losses.append(step.losses["loss"])
    assert step is not None
    return optimizer.result(image, step), time.monotonic() - began, losses, step


def compare(encoder: str, image: Pixels, style_image: StyleImage) -> dict[str, Any]:
    """The figures of one pair."""
    best_options = PaintOptions(encoder=encoder)
    paper = ImageOptimizer([style_image], replace(best_options, recipe="gatys"))
    paper_image, paper_seconds, losses, _ = run(paper, image)
    best_image, best_seconds, _, last = run(ImageOptimizer([style_image], best_options), image)
    windows = [float(np.mean(losses[i : i + WINDOW])) for i in range(0, len(losses), WINDOW)]
    return {
        "gatys": paper.gatys_loss(image, paper_image),
        "gatys_before_clamping": losses[-1],
        "gatys_seconds": paper_seconds,
        "gatys_windows_that_rose": sum(b > a for a, b in pairwise(windows)),
        "best": paper.gatys_loss(image, best_image),
        "best_seconds": best_seconds,
        "best_steps": last.step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--vgg19", type=Path, required=True, help="weights of the whole VGG-19")
    parser.add_argument(
        "--only", choices=[name for name, _, _ in PAIRS], help="measure only this encoder; the figures of the other are kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "bench" / "results" / "paint.json")
    args = parser.parse_args()
    photos = sorted(args.photos.iterdir(), reverse=True)[::7]
    paintings = [args.paintings / f"{n}.jpg" for n in ("starry_night", "the_scream", "udnie", "great_wave")]
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.only else {}
    results |= {"command": COMMAND, "machine": machine_details(torch.get_num_threads()), "alpha": ALPHA}
    for name, side, count in (pair for pair in PAIRS if args.only in (None, pair[0])):
        encoder = str(args.vgg19) if name == "vgg19" else name
        pairs = []
        for photo, painting in zip(photos, paintings[:count], strict=False):
            figures = compare(encoder, fitted(read_image(photo), side), read_style_image(painting))
            pairs.append({"photo": photo.name, "painting": painting.name, **figures})
            print(name, pairs[-1], flush=True)
        results[name] = {
            "long_side": side,
            "pairs": pairs,
            "best_over_gatys": float(np.mean([p["best"] / p["gatys"] for p in pairs])),
            "worst_best_over_gatys": max(p["best"] / p["gatys"] for p in pairs),
            "share_of_time": float(np.mean([p["best_seconds"] / p["gatys_seconds"] for p in pairs])),
            "best_seconds": max(p["best_seconds"] for p in pairs),
        }
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
