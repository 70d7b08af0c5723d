"""Compares the compact encoder with VGG-19: the ranking of style distances, and images stylized with both.

    python -m tools.bench.encoder --teacher vgg19.pth --photos DIR --paintings DIR --images encoder.png

It measures the rank correlation (Spearman) of style distances over all pairs of a style image and an image; images are
photographs, the same stylized by the shipped styles, and the same blurred, as they occur in training. The images of --images
are optimized (Gatys et al. 2015) with the teacher and with the compact encoder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vidstyle.core.hardware import machine_details
from vidstyle.core.options import StyleOptions
from vidstyle.sources import IMAGE_SUFFIXES
from vidstyle.studio.perceptual.encoder import Encoder, Features, find_encoder, load_encoder
from vidstyle.studio.perceptual.losses import content_loss, gram_matrix, style_grams, style_loss, total_variation
from vidstyle.studio.training.photos import fit_short_side, read_image
from vidstyle.studio.training.style_losses import to_tensor
from vidstyle.stylizers import load_stylizer

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
TRAINED = 4
"""Number of layers, the first of these, that style losses use."""
SIZE = 256


def images(folder: Path, count: int) -> dict[str, np.ndarray]:
    """`count` images of a folder, spread evenly over its names, cropped to squares of 256."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    chosen = [files[i * len(files) // count] for i in range(min(count, len(files)))]
    squares = {}
    for path in chosen:
        image = fit_short_side(read_image(path), SIZE)
        y, x = ((s - SIZE) // 2 for s in image.shape[:2])
        squares[path.stem] = np.ascontiguousarray(image[y : y + SIZE, x : x + SIZE])
    return squares


def grams(encoder: Encoder, image: np.ndarray) -> Features:
    """Gram matrices of all layers."""
    with torch.inference_mode():
        return {k: gram_matrix(f) for k, f in encoder(to_tensor([image]), LAYERS).items()}


def distances(encoder: Encoder, images: list[np.ndarray], style_images: list[np.ndarray]) -> np.ndarray:
    """Relative Gram errors (images, style images, layers)."""
    image_grams, style_grams = ([grams(encoder, image) for image in group] for group in (images, style_images))
    return np.array([[_relative(own, style) for style in style_grams] for own in image_grams])


def _relative(own: Features, style: Features) -> list[float]:
    return [((own[k] - style[k]).square().sum() / style[k].square().sum()).item() for k in LAYERS]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; there are no ties among measured distances."""
    first, second = (np.argsort(np.argsort(x.ravel())).astype(float) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def gatys(encoder: Encoder, photo: np.ndarray, style_image: np.ndarray, steps: int) -> np.ndarray:
    """Gatys et al. 2015, starting from the photo, with Adam on the pixels."""
    x = to_tensor([photo])
    weights = dict.fromkeys(LAYERS[:TRAINED], 1.0)
    target = style_grams(encoder, [to_tensor([style_image])], weights)
    content = {k: f.detach() for k, f in encoder(x, ["relu4_1"]).items()}
    image: Tensor = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.02)
    for _ in range(steps):
        features = encoder(image, weights)
        loss = style_loss(features, target, weights) + 0.05 * content_loss(features, content, ["relu4_1"])
        loss = loss + 0.02 * total_variation(image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return (image.detach()[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--encoder", default="compact")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--style", action="append", default=[])
    parser.add_argument("--images", type=Path, help="write images side by side: photo, teacher, compact")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "encoder.json")
    args = parser.parse_args()
    encoders = {"teacher": load_encoder(args.teacher), "compact": find_encoder(args.encoder)}
    photos, paintings = images(args.photos, 8), images(args.paintings, 12)
    contents = list(photos.values())
    contents += [load_stylizer(StyleOptions(style=s, device="cpu")).stylize([p])[0] for s in args.style for p in photos.values()]
    contents += [cv2.GaussianBlur(p, (0, 0), 4) for p in photos.values()]
    found = {key: distances(encoder, contents, list(paintings.values())) for key, encoder in encoders.items()}
    result = {
        "command": "python -m tools.bench.encoder --photos large --style mosaic --style udnie --style great-wave --style scream",
        "machine": machine_details(torch.get_num_threads()),
        "pairs": len(contents) * len(paintings),
        "rank_correlation": spearman(*(f[..., :TRAINED].mean(-1) for f in found.values())),
        "rank_correlation_with_relu5_1": spearman(*(f.mean(-1) for f in found.values())),
        "rank_correlation_by_layer": {k: spearman(*(f[..., i] for f in found.values())) for i, k in enumerate(LAYERS)},
    }
    print(result)
    if args.images:
        rows, seconds = [], dict.fromkeys(encoders, 0.0)
        for photo, painting in zip(list(photos.values())[:3], list(paintings.values())[1::4], strict=True):
            row = [photo, painting]
            for key, encoder in encoders.items():
                began = time.perf_counter()
                row.append(gatys(encoder, photo, painting, args.steps))
                seconds[key] += time.perf_counter() - began
            rows.append(np.concatenate(row, axis=1))
        cv2.imwrite(str(args.images), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
        result["gatys_faster_by"] = seconds["teacher"] / seconds["compact"]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
