"""Makes the exemplars of the shipped styles, from which `vidstyle paint` and `vidstyle keyframes` take these styles.

    python -m tools.assets.exemplars --paintings DIR --encoder vgg19_features_fp16.pth

Each is a texture with the statistics of the painting, see `vidstyle.studio.training.exemplar`; the mosaic's is drawn by
`tools/assets/mosaic.py`. They are written into models/ and its catalogue.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.studio.style_images import read_style_image
from vidstyle.studio.training.exemplar import SIZE, save_exemplar, synthesize_exemplar
from vidstyle.styles.catalog import add_style, read_catalog, sha256

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
PAINTINGS = {
    "composition": "composition_vii.jpg",
    "great-wave": "great_wave.jpg",
    "ink": "fuchun.jpg",
    "scream": "the_scream.jpg",
    "starry-night": "starry_night.jpg",
    "udnie": "udnie.jpg",
    "water-lilies": "water_lilies.jpg",
}


def mosaic() -> Pixels:
    """The mosaic that `tools/assets/mosaic.py` draws."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "mosaic.png"
        subprocess.run([sys.executable, "-m", "tools.assets.mosaic", path], cwd=ROOT, check=True)
        pixels = read_style_image(path).pixels
        return np.asarray(cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="weights of the whole VGG-19")
    parser.add_argument("--steps", type=int, default=400, help="maximum number of steps at full size")
    parser.add_argument("--style", action="append", help="a style, repeatable; default: all")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in args.style or ["mosaic", *PAINTINGS]:
        logging.info("%s", name)
        style_image = None if name == "mosaic" else read_style_image(args.paintings / PAINTINGS[name])
        image = mosaic() if style_image is None else synthesize_exemplar([style_image], args.encoder, args.steps)
        path = MODELS / f"{name}.jpg"
        save_exemplar(image, path)
        facts = {**read_catalog(MODELS)[name], "exemplar": {"file": path.name, "sha256": sha256(path)}}
        add_style(MODELS, name, facts)


if __name__ == "__main__":
    main()
