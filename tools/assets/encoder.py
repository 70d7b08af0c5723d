"""Trains the compact perceptual encoder that ships in models/: a small network that judges style as VGG-19 does.

    python -m tools.assets.encoder --teacher vgg19.pth --images PHOTOS --images PAINTINGS --style mosaic

Two losses. Regression: the teacher's features at every layer must equal the student's or, where the teacher is wider, a linear
map (1x1, discarded afterwards) of them, as in FitNets (Romero et al. 2015). Distance: for every two images of a batch, the
relative Gram error between them must equal the teacher's, on a log scale, at each layer, which is what a style loss requires
of an encoder. Images are crops of photographs and paintings at any scale, some stylized by trained styles, some blended or
noisy, because an image passes through such states while it is optimized. And some are being optimized with the student itself
while it learns (`OngoingOptimizations`): if the optimizer finds an image that the student rates better than the teacher does,
the student learns from it next.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from vidstyle.core.concurrency import prefetch
from vidstyle.core.files import replaced
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sources import IMAGE_SUFFIXES
from vidstyle.studio.perceptual.encoder import Encoder, load_encoder, untrained_compact_encoder
from vidstyle.studio.perceptual.losses import gram_matrix
from vidstyle.studio.training.photos import fit_short_side, read_image
from vidstyle.stylizers import load_stylizer

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
CONTENT_LAYER = "relu4_2"
CHECKPOINT_EVERY = 100
log = logging.getLogger("train_encoder")


class Images:
    """Batches of crops (N, 3, S, S) in [0, 1]; batch k is the same in every run."""

    def __init__(self, folders: list[Path], styles: list[Stylizer], size: int, batch: int) -> None:
        self.by_folder = [sorted(p for p in f.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) for f in folders]
        self.styles, self.size, self.batch = styles, size, batch

    def batches(self, first: int) -> Iterator[Tensor]:
        step = first
        while True:
            rng = np.random.default_rng(step)
            crops = np.stack([self._image(rng) for _ in range(self.batch)]).astype(np.float32) / 255
            yield torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            step += 1

    def _image(self, rng: np.random.Generator) -> np.ndarray:
        crop = self._crop(rng)
        kind = rng.random()
        if kind < 0.3 and self.styles:
            crop = self.styles[int(rng.integers(len(self.styles)))].stylize([crop])[0]
        elif kind < 0.4:
            weight = rng.random()
            crop = (weight * crop + (1 - weight) * self._crop(rng)).astype(np.uint8)
        elif kind < 0.5:
            noise = rng.normal(0, rng.uniform(2, 60), crop.shape)
            crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
        return crop

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        files = self.by_folder[int(rng.integers(len(self.by_folder)))]
        image = read_image(files[int(rng.integers(len(files)))])
        image = fit_short_side(image, int(rng.integers(self.size, max(self.size + 1, min(512, *image.shape[:2]) + 1))))
        y, x = (int(rng.integers(s - self.size + 1)) for s in image.shape[:2])
        crop = image[y : y + self.size, x : x + self.size]
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


class OngoingOptimizations:
    """Images that are being optimized with the student (Gatys et al. 2015), a few steps per call.

    Each has its own content and style and is restarted after about `LIFETIME` calls.
    """

    STEPS, LIFETIME, STEP_SIZE, CONTENT_WEIGHT = 2, 40, 0.02, 0.03

    def __init__(self, student: Encoder, images: Images, count: int) -> None:
        self._student, self._count = student, count
        self._crops = images.batches(10_000_000)
        self._random = torch.Generator().manual_seed(0)
        self._images = self._content = self._style = next(self._crops)[:count]

    def stylized(self, autocast: torch.autocast) -> Tensor:
        """The images after some more steps, (count, 3, S, S)."""
        self._restart_some()
        style_layers = [k for k in LAYERS if k != CONTENT_LAYER]
        with autocast, torch.no_grad():
            grams = {k: gram_matrix(f) for k, f in self._student(self._style, style_layers).items()}
            content = self._student(self._content, [CONTENT_LAYER])[CONTENT_LAYER].float()
        x = self._images
        for _ in range(self.STEPS):
            x = x.detach().requires_grad_(True)
            with autocast:
                features = self._student(x, LAYERS)
            style = [(gram_matrix(features[k]) - g).square().sum((1, 2)) / g.square().sum((1, 2)) for k, g in grams.items()]
            gap = (features[CONTENT_LAYER].float() - content).square().mean() / content.square().mean()
            (gradient,) = torch.autograd.grad(torch.stack(style).mean(0).sum() + self.CONTENT_WEIGHT * len(x) * gap, x)
            scale = gradient.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
            x = (x.detach() - self.STEP_SIZE * (gradient / scale).clamp(-3, 3)).clamp(0, 1)
        self._images = x
        return x

    def _restart_some(self) -> None:
        over = torch.rand(self._count, generator=self._random) < 1 / self.LIFETIME
        if over.any():
            fresh = next(self._crops)[: 2 * self._count]
            content, style = fresh[: self._count], fresh.flip(0)[: self._count]
            blank = torch.rand(self._count, 1, 1, 1, generator=self._random) < 0.2  # some start from noise
            start = torch.where(blank, torch.rand(content.shape, generator=self._random), content)
            for name, new in (("_content", content), ("_style", style), ("_images", start)):
                setattr(self, name, torch.where(over[:, None, None, None], new, getattr(self, name)))


def gram_distances(features: Tensor) -> Tensor:
    """log of the relative Gram error of every image (N) against every other: shape (N, N)."""
    grams = gram_matrix(features).flatten(1)
    distances = torch.cdist(grams, grams, compute_mode="donot_use_mm_for_euclid_dist").square()
    off_diagonal = ~torch.eye(len(grams), dtype=torch.bool)
    return (distances / grams.square().sum(1))[off_diagonal].add(1e-6).log()


def losses(student: Encoder, lifts: nn.ModuleDict, teacher: Encoder, x: Tensor, autocast: torch.autocast) -> dict[str, Tensor]:
    """Mean over layers of both losses."""
    with autocast:
        with torch.no_grad():
            wanted = teacher(x, lifts)
        features = student(x, lifts)
        lifted = {k: lifts[k](f) for k, f in features.items()}
    regression = [
        F.mse_loss(lifted[k].float(), w.float()) / w.float().square().mean() for k, w in wanted.items()
    ]  # fmt: skip
    distance = [F.mse_loss(gram_distances(features[k].float()), gram_distances(wanted[k].float())) for k in LAYERS]
    return {"regression": torch.stack(regression).mean(), "distance": torch.stack(distance).mean()}


def save(student: Encoder, path: Path) -> None:
    """Write the weights in half precision, whole or not at all."""
    state = {k: v.half().contiguous() for k, v in student.state_dict().items()}
    with replaced(path) as temporary:
        save_file(state, temporary, metadata={"format": "vidstyle encoder", "teacher": "VGG-19 (Simonyan and Zisserman 2015)"})
        temporary.chmod(0o644)  # safetensors creates it with mode 600


def _output_channels(encoder: Encoder) -> dict[str, int]:
    return {k: conv.out_channels for k, conv in encoder.convs.items() if isinstance(conv, nn.Conv2d)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="weights of a VGG-19, full or distilled")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        required=True,
        help="a folder, repeatable; images are drawn from all equally often",
    )
    parser.add_argument("--style", action="append", default=[], help="a trained style to stylize some images with, repeatable")
    parser.add_argument("--out", type=Path, default=Path("models/encoder.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("encoder.training"))
    parser.add_argument("--from", dest="start", type=Path, help="an encoder to start from")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ongoing", type=int, default=3, help="images of each batch that are being optimized with the student")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--distance-weight", type=float, default=0.5)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    teacher, student = load_encoder(args.teacher), untrained_compact_encoder().requires_grad_(True)
    if args.start is not None:
        student.load_state_dict(load_encoder(args.start).state_dict())
    student.stem.requires_grad_(False)
    wide = _output_channels(teacher)
    thin = {k: n for k, n in _output_channels(student).items() if k in wide}
    lifts = nn.ModuleDict({f"relu{k}": nn.Identity() if n == wide[k] else nn.Conv2d(n, wide[k], 1) for k, n in thin.items()})
    for module in (teacher, student, lifts):
        module.to(memory_format=torch.channels_last)
    parameters = [p for m in (student, lifts) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, args.learning_rate)

    step, checkpoint = 0, args.work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        lifts.load_state_dict(state["lifts"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    styles = [load_stylizer(StyleOptions(style=name, device="cpu")) for name in args.style]
    images = Images(args.images, styles, args.size, args.batch)
    batches = prefetch(images.batches(step), depth=2)
    ongoing = OngoingOptimizations(student, images, args.ongoing) if args.ongoing else None
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())
    began, first = time.monotonic(), step
    sums: dict[str, float] = {}
    while step < args.steps:
        cosine = 0.5 * (1 + math.cos(math.pi * step / args.steps))
        optimizer.param_groups[0]["lr"] = args.learning_rate * min(1.0, (step + 1) / 50) * (0.01 + 0.99 * cosine)
        x = next(batches)
        if ongoing is not None:
            x = torch.cat((x[: args.batch - args.ongoing], ongoing.stylized(autocast))).contiguous(
                memory_format=torch.channels_last
            )
        found = losses(student, lifts, teacher, x, autocast)
        optimizer.zero_grad(set_to_none=True)
        (found["regression"] + args.distance_weight * found["distance"]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        if step % 50 == 0:
            left = (time.monotonic() - began) / (step - first) * (args.steps - step) / 60
            log.info("step %d/%d  %s  %.0f min left", step, args.steps,
                     "  ".join(f"{k} {v / 50:.4f}" for k, v in sums.items()), left)  # fmt: skip
            sums = {}
        if step % CHECKPOINT_EVERY == 0 or step == args.steps:
            state = {
                "step": step,
                "student": student.state_dict(),
                "lifts": lifts.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            with replaced(checkpoint) as temporary:
                torch.save(state, temporary)
    batches.close()
    save(student, args.out)


if __name__ == "__main__":
    main()
