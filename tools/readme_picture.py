"""Draws the README's picture: a frame of the sample clip in every style that ships.

python tools/readme_picture.py [--output samples/styles.jpg]
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
from vidstyle.stylizers.catalog import read_catalog, shipped_folder

ROOT = Path(__file__).resolve().parent.parent
FRAME = 50
COLUMNS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "samples" / "styles.jpg")
    args = parser.parse_args()
    with closing(open_source(str(ROOT / "samples" / "boat.mp4"))) as source:
        frame = next(f.pixels for number, f in enumerate(source.frames()) if number == FRAME)
    styles = sorted(read_catalog(shipped_folder()))
    painted = [load_stylizer(StyleOptions(style=style)).for_shot([frame]).stylize([frame])[0] for style in styles]
    rows = [np.concatenate(painted[i : i + COLUMNS], axis=1) for i in range(0, len(painted), COLUMNS)]
    cv2.imwrite(str(args.output), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
