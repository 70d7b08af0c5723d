"""Makes the images of the documentation of `vidstyle paint` and `vidstyle keyframes`, from the project's sample and exemplars.

    python -m tools.docs.paint_images

samples/paint.jpg: a frame, stylized in every shipped style. samples/keyframes.jpg: consecutive frames around a keyframe,
original and stylized.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.sources import open_source
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer
from vidstyle.studio.style_images import find_style_images

ROOT = Path(__file__).resolve().parents[2]
SAMPLE, FRAME = ROOT / "samples" / "boat.mp4", 40
STYLES, CLIP_STYLE, SECONDS = ("great-wave", "udnie", "scream", "mosaic"), "great-wave", 1.5


def frames_of(path: Path) -> list[Pixels]:
    """All frames of a video."""
    with closing(open_source(str(path))) as source:
        return [frame.pixels for frame in source.frames()]


def stylized(image: Pixels, style: str) -> Pixels:
    """`image` stylized as by `vidstyle paint`."""
    optimizer = ImageOptimizer(find_style_images(style), PaintOptions())
    *_, last = optimizer.optimize(image)
    return optimizer.result(image, last)


def save(name: str, rows: list[list[Pixels]], width: int) -> None:
    """Save rows of images as one JPEG of `width`."""
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    sheet = cv2.resize(sheet, (width, round(sheet.shape[0] * width / sheet.shape[1])), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(ROOT / "samples" / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    frame = frames_of(SAMPLE)[FRAME]
    images = [stylized(frame, style) for style in STYLES]
    save("paint.jpg", [images[:2], images[2:]], 1280)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.mp4"
        options: list[str | Path] = ["--style", CLIP_STYLE, "-o", out, "--sample", str(SECONDS)]
        command: list[str | Path] = [sys.executable, "-m", "vidstyle", "keyframes", SAMPLE, *options]
        subprocess.run(command, check=True)
        keyframes = json.loads((out.with_name("out.mp4.keyframes") / "keyframes.json").read_text())["keyframes"]
        videos = [frames_of(SAMPLE), frames_of(out)]
        middle = min(keyframes[1:] or [4], key=lambda n: abs(n - len(videos[1]) // 2))
        around = range(max(0, middle - 2), min(len(videos[1]), middle + 2))
        save("keyframes.jpg", [[video[n] for n in around] for video in videos], 1600)


if __name__ == "__main__":
    main()
