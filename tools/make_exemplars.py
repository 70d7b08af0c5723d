"""Pictures from which `vidstyle paint` and `keyframes` know the shipped styles without their paintings.

    python tools/make_exemplars.py --paintings DIR --encoder vgg19_features_fp16.pth

Each is a texture with the painting's statistics and nothing of its content, found from noise by the optimiser that paints
pictures (Gatys et al. 2015, "Texture Synthesis Using Convolutional Neural Networks"). The mosaic is as our own tool draws it.
They go into models/ and its catalogue.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from vidstyle.frames import Pixels
from vidstyle.options import PaintOptions
from vidstyle.studio.painter import Painter
from vidstyle.studio.paintings import read_painting
from vidstyle.stylizers.catalog import add_style, read_catalog, sha256

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
PAINTINGS = {"udnie": "udnie.jpg", "great-wave": "great_wave.jpg", "scream": "the_scream.jpg"}
SIZE, QUALITY = 512, 90


def texture(path: Path, encoder: str, steps: int) -> Pixels:
    """A picture of `SIZE` by `SIZE` with the statistics of the painting at `path`."""
    painter = Painter([read_painting(path)], PaintOptions(encoder=encoder, start="noise", content_weight=0.0, steps=steps))
    blank, step = np.full((SIZE, SIZE, 3), 128, np.uint8), None
    for step in painter.paint(blank):
        if step.step % 50 == 0:
            print(path.name, step.step, step.steps, step.losses, flush=True)
    assert step is not None
    return painter.finished(blank, step)


def mosaic() -> Pixels:
    """As `tools/draw_mosaic.py` draws it."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "mosaic.png"
        subprocess.run([sys.executable, ROOT / "tools" / "draw_mosaic.py", path], check=True)
        drawn = read_painting(path).pixels
        return np.asarray(cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="weights of the whole VGG-19")
    parser.add_argument("--steps", type=int, default=400, help="at most so many at full size")
    args = parser.parse_args()
    made = {"mosaic": mosaic()} | {n: texture(args.paintings / p, args.encoder, args.steps) for n, p in PAINTINGS.items()}
    for name, picture in made.items():
        path = MODELS / f"{name}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        facts = {**read_catalog(MODELS)[name], "exemplar": {"file": path.name, "sha256": sha256(path)}}
        add_style(MODELS, name, facts)


if __name__ == "__main__":
    main()
