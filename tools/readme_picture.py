"""Draws the README's picture: frames of the sample clip above, painted below.

python tools/readme_picture.py [--style mosaic] [--output samples/mosaic.jpg]
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from vidstyle.options import StyleOptions
from vidstyle.sources import open_source
from vidstyle.stylizers import load_stylizer

ROOT = Path(__file__).resolve().parent.parent
FRAMES = (50, 105)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--style", default="mosaic")
    parser.add_argument("--output", type=Path, default=ROOT / "samples" / "mosaic.jpg")
    args = parser.parse_args()
    with closing(open_source(str(ROOT / "samples" / "boat.mp4"))) as source:
        before = [frame.pixels for number, frame in enumerate(source.frames()) if number in FRAMES]
    after = load_stylizer(StyleOptions(style=args.style)).stylize(before)
    sheet = np.concatenate([np.concatenate(before, 1), np.concatenate(list(after), 1)])
    cv2.imwrite(str(args.output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
