"""Training of a style: photographs and a painting in, a style network out.

A training lives in a folder: `checkpoint.pt` (everything needed to go on), `preview.png` (fixed photos above, painted
below). Running the same training again goes on where the last checkpoint stood; step k sees the same crops either way.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidstyle.errors import TrainingError
from vidstyle.options import TrainOptions
from vidstyle.pipeline import prefetch
from vidstyle.studio.device import bfloat16_is_fast, find_device
from vidstyle.studio.perceptual import (
    Encoder,
    content_loss,
    pyramid_features,
    style_grams,
    style_loss,
    tone_loss,
    total_variation,
)
from vidstyle.studio.photos import CONTEXT, PhotoCrops, fit_short_side, read_image
from vidstyle.studio.steadiness import disturb, random_motion, steadiness_loss, warp
from vidstyle.studio.transformer_net import ARCHITECTURES, MARGIN

log = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)

PREVIEW_SIZE = 320
PREVIEW_SECONDS = 120.0
EMA_DECAY = 0.998
WARM_UP = 100
RANGE_WEIGHT = 1.0
STATISTICS_BATCHES = 60


@dataclass(frozen=True)
class Progress:
    """Where a training stands; losses are means over the steps since the last report."""

    step: int
    steps: int
    phase: str
    losses: dict[str, float]
    seconds_left: float


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 RGB (H, W, 3) each -> float (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class Trainer:
    """One training run. Iterate over `run()`; afterwards `net` is the trained one, in evaluation mode."""

    def __init__(
        self,
        encoder: Encoder,
        paintings: Sequence[np.ndarray],
        photos: PhotoCrops,
        folder: Path,
        options: TrainOptions,
        start: nn.Module | None = None,
    ) -> None:
        self.device = find_device("auto")
        self.options, self.photos, self.folder = options, photos, folder
        self.identity_steps = 0 if start is not None else options.identity_steps
        self.steps = self.identity_steps + options.steps
        torch.manual_seed(options.seed)
        self.net = _channels_last(start or ARCHITECTURES[options.architecture](), self.device)
        self.average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), options.learning_rate)
        self.encoder = _channels_last(encoder, self.device)
        self.step = 0
        self.layers = {k for k, _ in options.style_layers} | set(options.content_layers)
        with self._autocast():
            pictures = [to_tensor([fit_short_side(p, options.style_size)]).to(self.device) for p in paintings]
            self.grams = style_grams(self.encoder, pictures, [k for k, _ in options.style_layers])

    def run(self) -> Iterator[Progress]:
        """Train to the end, yielding every `Progress`. Raises `TrainingError` when a loss is not finite."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        batches = prefetch(self.photos.batches(self.step), depth=4)
        sums: dict[str, float] = {}
        count, first = 0, self.step
        began = previewed = time.monotonic()
        try:
            while self.step < self.steps:
                losses = self._train_step(torch.from_numpy(next(batches)))
                for name, value in losses.items():
                    if not math.isfinite(value):
                        raise TrainingError(
                            f"the {name} became {value} at step {self.step}; the last checkpoint in {self.folder} is sound, "
                            "try a smaller learning rate"
                        )
                    sums[name] = sums.get(name, 0.0) + value
                self.step += 1
                count += 1
                last = self.step == self.steps
                if self.step % self.options.checkpoint_every == 0 or last:
                    self._save()
                if time.monotonic() - previewed > PREVIEW_SECONDS or last:
                    self._preview()
                    previewed = time.monotonic()
                if count == 50 or last:
                    left = (time.monotonic() - began) / (self.step - first) * (self.steps - self.step)
                    yield Progress(self.step, self.steps, self._phase(), {k: v / count for k, v in sums.items()}, left)
                    sums, count = {}, 0
        finally:
            batches.close()
        self._settle_statistics()

    def _phase(self) -> str:
        return "identity" if self.step <= self.identity_steps else "style"

    def _train_step(self, batch: Tensor) -> dict[str, float]:
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        context = self._to_device(batch)
        x = _crop(context, CONTEXT)
        if self.step < self.identity_steps:
            raw = _crop(self._net(context), CONTEXT)
            losses = {"identity": (raw - x).abs().mean()}
        else:
            motion, moved = self._move(context)
            painted, moved_painted = self._net(torch.cat((context, moved))).chunk(2)
            raw = _crop(painted, CONTEXT)
            losses = self._style_losses(x, _shown(raw))
            losses["border"] = self.options.border_weight * self._border_loss(x[:1], raw[:1].detach())
            unsteady = steadiness_loss(_shown(painted), _shown(moved_painted), motion, CONTEXT)
            losses["unsteady"] = self._steadiness_weight() * unsteady
        losses["range"] = RANGE_WEIGHT * (raw - raw.clamp(0, 1)).square().mean()
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        values = {"loss": loss.item(), **{k: v.item() for k, v in losses.items()}}
        if not math.isfinite(gradient.item()):
            values["gradient"] = math.nan
        elif math.isfinite(values["loss"]):
            self.optimizer.step()
            self._update_average()
        return values

    def _net(self, x: Tensor) -> Tensor:
        with self._autocast():
            return cast(Tensor, self.net(x)).float()

    def _move(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """A random motion, and `context` moved by it and disturbed; the same at every run of this step."""
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        motion = random_motion(len(context), context.shape[-1], generator).to(self.device)
        moved = disturb(warp(context, motion), generator)
        return motion, moved.contiguous(memory_format=torch.channels_last)

    def _steadiness_weight(self) -> float:
        """Ramped in: from the first step on, it would keep strokes out of plain areas altogether."""
        ramp = self.options.steadiness_ramp * (self.steps - self.identity_steps)
        return self.options.steadiness_weight * min(1.0, (self.step - self.identity_steps) / max(ramp, 1))

    def _border_loss(self, x: Tensor, painted: Tensor) -> Tensor:
        """Mean |difference| of a crop painted with a mirrored margin, all that there is at a frame's border, and in its scene."""
        with self._autocast():
            bordered = self._paint(x)
        return (bordered.float() - painted).abs().mean()

    def _style_losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        o = self.options
        with self._autocast():
            with torch.no_grad():
                target = pyramid_features(self.encoder, x, o.content_layers)
            features = pyramid_features(self.encoder, y, self.layers)
        return {
            "style": style_loss(features, self.grams, dict(o.style_layers)),
            "content": o.content_weight * content_loss(features, target, o.content_layers),
            "tone": o.tone_weight * tone_loss(y, x, o.tone_size),
            "tv": o.tv_weight * total_variation(y),
        }

    def _paint(self, x: Tensor) -> Tensor:
        """Pad, paint and crop, as at run time."""
        return _crop(self.net(F.pad(x, (MARGIN,) * 4, mode="reflect")), MARGIN)

    def _learning_rate(self) -> float:
        """Warm-up, then cosine; once for the identity, once for the style."""
        first, last = (0, self.identity_steps) if self.step < self.identity_steps else (self.identity_steps, self.steps)
        done = self.step - first
        cosine = 0.5 * (1 + math.cos(math.pi * done / (last - first)))
        return self.options.learning_rate * min(1.0, (done + 1) / WARM_UP) * (0.02 + 0.98 * cosine)

    def _update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)

    def _settle_statistics(self) -> None:
        """Take the averaged weights and track their norm statistics over many photographs: what inference will use."""
        self.net.load_state_dict(self.average)
        self.net.train()
        with torch.no_grad(), self._autocast():
            for _, batch in zip(range(STATISTICS_BATCHES), self.photos.batches(1_000_000), strict=False):
                self._paint(self._to_device(torch.from_numpy(batch)))
        self.net.eval()

    def _to_device(self, batch: Tensor) -> Tensor:
        x = batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return x.contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16_is_fast(self.device))

    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal to resume; the number of steps may be, and the learning rate then follows the new one."""
        options = {k: v for k, v in asdict(self.options).items() if k != "steps"}
        return {**options, "grams": {k: float(g.square().sum()) for k, g in self.grams.items()}}

    def _save(self) -> None:
        state = {
            "step": self.step,
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "fingerprint": self._fingerprint(),
        }
        temporary = self.folder / f".checkpoint.{os.getpid()}.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / "checkpoint.pt")

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state: Mapping[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["fingerprint"] != self._fingerprint():
            raise TrainingError(
                f"expected to resume the same training, {path} is of another: other options; remove it to begin anew"
            )
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = dict(state["average"]), state["step"]
        log.info("resuming at step %d of %d", self.step, self.steps)

    def _preview(self) -> None:
        """Write `preview.png`: fixed photographs above, the averaged net's pictures of them below."""
        state = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()  # tracked statistics, as at run time
        columns = []
        for path in self.photos.preview:
            try:
                photo = fit_short_side(read_image(path), PREVIEW_SIZE)
            except TrainingError:
                continue
            y0, x0 = ((s - PREVIEW_SIZE) // 2 for s in photo.shape[:2])
            photo = photo[y0 : y0 + PREVIEW_SIZE, x0 : x0 + PREVIEW_SIZE]
            with torch.no_grad():
                y = self._paint(self._to_device(torch.from_numpy(photo.copy()[None])))
            painted = (y[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
            columns.append(np.concatenate([photo, painted]))
        if columns:
            strip = cv2.cvtColor(np.concatenate(columns, axis=1), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(self.folder / "preview.png"), strip)
        self.net.load_state_dict(state)


def _shown(raw: Tensor) -> Tensor:
    """`raw` clamped to what will be shown, with gradients as if it were not."""
    return raw + (raw.clamp(0, 1) - raw).detach()


def _crop(x: Tensor, margin: int) -> Tensor:
    return x[..., margin:-margin, margin:-margin]


def _channels_last(module: M, device: torch.device) -> M:
    """`module` on `device`, in the layout that convolutions are fastest in (torch's types do not know this form of `to`)."""
    return cast(M, module.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
