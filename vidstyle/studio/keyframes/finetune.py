"""A style net fine-tuned to stylize one clip as its keyframes are stylized.

After Texler et al. 2020, "Interactive Video Stylization Using Few-Shot Patch-Based Training": trained on crops of the few
pairs of a frame and its stylized version. Departures from the paper: training starts from the shipped net that is nearest, the
losses include Gram matrices of the stylized crops, and compound regularization makes the net temporally consistent.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vidstyle.core.errors import TrainingError
from vidstyle.core.files import replaced, writing
from vidstyle.core.frames import Pixels
from vidstyle.networks.device import bfloat16_is_fast, find_device
from vidstyle.networks.export import load_net
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.losses import content_loss, gram_matrix
from vidstyle.studio.training.photos import CONTEXT
from vidstyle.studio.training.temporal_loss import disturb, random_motion, temporal_loss, warp

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
FEATURE_WEIGHT, STYLE_WEIGHT, CONSISTENCY_WEIGHT = 0.3, 0.3, 5.0
BATCH, CROP = 3, 192
LEARNING_RATE, WARM_UP = 1.5e-3, 20
AVERAGE = 0.98
CHECKPOINT_EVERY = 50

Pair = tuple[Pixels, Pixels]
"""A frame and the same frame stylized, both uint8 RGB (H, W, 3)."""


def nearest_net(pairs: Sequence[Pair], models: Sequence[Path]) -> tuple[nn.Module, Path]:
    """The compact net among `models` whose output for the frames is closest to the stylized ones, and its file."""
    best: tuple[float, nn.Module, Path] | None = None
    for path in models:
        net, facts = load_net(path)
        if facts["architecture"] != "compact":
            continue
        net.train()
        with torch.no_grad():
            error = float(np.mean([(net(_tensor(_even(f))) - _tensor(_even(p))).abs().mean().item() for f, p in pairs[:3]]))
        if best is None or error < best[0]:
            best = error, load_net(path)[0], path
    if best is None:
        raise TrainingError("no compact style to start from was found")
    return best[1], best[2]


class FineTuning:
    """Trains `net` on `pairs` for `steps`; iterate over `run()`.

    Resumes from `checkpoint` if that has the same `fingerprint`, which identifies keyframes and options.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: Encoder,
        pairs: Sequence[Pair],
        steps: int,
        checkpoint: Path,
        fingerprint: str,
        device: str = "auto",
    ) -> None:
        self.device = find_device(device)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._encoder = encoder.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pairs = [(_padded(frame), _padded(stylized)) for frame, stylized in pairs]
        self._steps, self._checkpoint, self._fingerprint = steps, checkpoint, fingerprint
        self._average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self._optimizer = torch.optim.Adam(self.net.parameters(), LEARNING_RATE)
        self._step = 0

    def run(self) -> Iterator[tuple[int, float]]:
        """Train to the end, yielding step and loss; afterwards `net` is trained. Raises `TrainingError` if the loss diverges."""
        self._resume()
        while self._step < self._steps:
            loss = self._train_step()
            if not math.isfinite(loss):
                raise TrainingError(f"the loss became {loss} at step {self._step} of the net's fine-tuning")
            self._step += 1
            if self._step % CHECKPOINT_EVERY == 0:
                self._save()
            yield self._step, loss
        self.net.load_state_dict(self._average)
        self._update_statistics()

    def _train_step(self) -> float:
        self.net.train()
        done = self._step / self._steps
        rate = LEARNING_RATE * min(1.0, (self._step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        self._optimizer.param_groups[0]["lr"] = rate
        context, wanted = self._crops(self._step)
        generator = torch.Generator().manual_seed(self._step)
        motion = random_motion(len(context), context.shape[-1], generator).to(self.device)
        moved = disturb(warp(context, motion), generator).contiguous(memory_format=torch.channels_last)
        stylized, moved_stylized = self._stylized(torch.cat((context, moved))).chunk(2)
        inner = (..., slice(CONTEXT, -CONTEXT), slice(CONTEXT, -CONTEXT))
        loss = self._loss(stylized[inner], wanted[inner])
        loss = loss + CONSISTENCY_WEIGHT * temporal_loss(stylized, moved_stylized, motion, CONTEXT)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        decay = min(AVERAGE, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for key, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self._average[key].lerp_(value, 1 - decay)
        return loss.item()

    def _loss(self, stylized: Tensor, wanted: Tensor) -> Tensor:
        """|O - K| of the output O and the stylized keyframe K, and the distances of their features and Gram matrices."""
        with self._autocast():
            with torch.no_grad():
                target = self._encoder(wanted, LAYERS)
                grams = {k: gram_matrix(f) for k, f in target.items()}
            features = self._encoder(stylized, LAYERS)
        errors = [
            (gram_matrix(features[k]) - g).square().sum((1, 2)) / g.square().sum((1, 2)).clamp_min(1e-12)
            for k, g in grams.items()
        ]
        style = torch.stack(errors).mean()
        features_loss = content_loss(features, target, ("relu2_1", "relu3_1"))
        return (stylized - wanted).abs().mean() + FEATURE_WEIGHT * features_loss + STYLE_WEIGHT * style

    def _stylized(self, x: Tensor) -> Tensor:
        with self._autocast():
            y: Tensor = self.net(x)
        return y.float()

    def _crops(self, step: int) -> tuple[Tensor, Tensor]:
        """Crops of frames and of the stylized ones, with a margin of `CONTEXT`; the same in every run of this step."""
        rng = np.random.default_rng(step)
        size = CROP + 2 * CONTEXT
        crops = []
        for _ in range(BATCH):
            frame, stylized = self._pairs[int(rng.integers(len(self._pairs)))]
            y, x = (int(rng.integers(side - size + 1)) for side in frame.shape[:2])
            crops.append(np.concatenate((frame[y : y + size, x : x + size], stylized[y : y + size, x : x + size]), axis=2))
        x6 = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float() / 255
        return x6[:, :3].contiguous(memory_format=torch.channels_last), x6[:, 3:].contiguous(memory_format=torch.channels_last)

    def _update_statistics(self) -> None:
        """Track the norm statistics of the averaged weights over the keyframes; inference starts with them in every shot."""
        self.net.train()
        with torch.no_grad(), self._autocast():
            for step in range(40):
                self.net(self._crops(1_000_000 + step)[0])
        self.net.eval()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16_is_fast(self.device))

    def _save(self) -> None:
        state = {"step": self._step, "net": self.net.state_dict(), "average": self._average}
        state |= {"optimizer": self._optimizer.state_dict(), "recipe": self._fingerprint}
        data = io.BytesIO()
        torch.save(state, data)  # into memory, because it hides the system's errors
        with writing(self._checkpoint), replaced(self._checkpoint) as temporary:
            temporary.write_bytes(data.getbuffer())

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        if state["recipe"] != self._fingerprint:  # keyframes were retouched, or options changed: start over
            return
        self.net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._average, self._step = dict(state["average"]), state["step"]


def _padded(image: Pixels) -> Pixels:
    """`image` with a mirrored border of `CONTEXT`, and at least as large as a crop."""
    h, w = image.shape[:2]
    size = CROP + 2 * CONTEXT
    down, right = max(0, size - 2 * CONTEXT - h), max(0, size - 2 * CONTEXT - w)
    border = (CONTEXT, CONTEXT + down, CONTEXT, CONTEXT + right)
    return np.asarray(cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT), np.uint8)


def _even(image: Pixels) -> Pixels:
    """`image` resized to a multiple of the net's stride."""
    h, w = (max(8, side // 8 * 8) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (w, h)), np.uint8)


def _tensor(image: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
