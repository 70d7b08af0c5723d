"""Draws the documentation's image of the controls: a frame of the sample clip at several settings of each.

python -m tools.docs.controls_image [--output samples/controls.jpg]
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidstyle.core.compositing import masked, with_colors_of
from vidstyle.core.frames import Mask, Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.sources import open_source
from vidstyle.stylizers import load_stylizer

ROOT = Path(__file__).resolve().parents[2]
FRAME = 50
STRENGTH_STYLE, BLEND, STROKE_STYLE, MASK_STYLE = "scream", ("great-wave", "mosaic"), "great-wave", "mosaic"
WIDTH, COLUMNS, GAP, CAPTION, TEXT = 1600, 5, 12, 36, 18
WHITE, BLACK = (255, 255, 255), (25, 25, 25)
_FONT = cv2.FontFace("sans")


def cells(frame: Pixels) -> list[tuple[str, Pixels]]:
    """The caption of each image, and the image."""

    def stylized(style: str, **controls: Any) -> Pixels:
        stylizer = load_stylizer(StyleOptions(style, "cpu", **controls)).for_shot([frame])
        return np.ascontiguousarray(stylizer.stylize([frame])[0])

    weights, (first, second) = (0.0, 0.25, 0.5, 0.75, 1.0), BLEND
    blends = [first, *(f"{first}:{1 - s:g},{second}:{s:g}" for s in weights[1:-1]), second]
    return [
        *((f"{STRENGTH_STYLE}, strength {weight:g}", stylized(STRENGTH_STYLE, strength=weight)) for weight in weights),
        *((blend, stylized(blend)) for blend in blends),
        *((f"{STROKE_STYLE}, stroke scale {scale:g}", stylized(STROKE_STYLE, stroke_scale=scale)) for scale in (0.5, 1, 2)),
        (f"{MASK_STYLE}, own colours", with_colors_of(frame, stylized(MASK_STYLE))),
        (f"{MASK_STYLE}, with a mask", masked(frame, stylized(MASK_STYLE), ellipse(frame))),
    ]


def ellipse(frame: Pixels) -> Mask:
    """A mask that stylizes the middle of an image, with a soft edge."""
    height, width = frame.shape[:2]
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 3, round(0.42 * height)), 0, 0, 360, (1.0,), -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 4), np.float32)


def sheet(images: list[tuple[str, Pixels]]) -> Pixels:
    """All images in rows of `COLUMNS`, each with its caption."""
    width = (WIDTH - GAP) // COLUMNS - GAP
    height = round(width * images[0][1].shape[0] / images[0][1].shape[1])
    rows = -(-len(images) // COLUMNS)
    canvas = np.full((GAP + rows * (height + CAPTION + GAP), WIDTH, 3), WHITE, np.uint8)
    for number, (caption, image) in enumerate(images):
        row, column = divmod(number, COLUMNS)
        x, y = GAP + column * (width + GAP), GAP + row * (height + CAPTION + GAP)
        canvas[y : y + height, x : x + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        cv2.putText(canvas, caption, (x, y + height + round(1.3 * TEXT)), BLACK, _FONT, TEXT, 400)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "samples" / "controls.jpg")
    args = parser.parse_args()
    with closing(open_source(str(ROOT / "samples" / "boat.mp4"))) as source:
        frame = next(f.pixels for number, f in enumerate(source.frames()) if number == FRAME)
    bgr = cv2.cvtColor(sheet(cells(frame)), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(args.output), bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
