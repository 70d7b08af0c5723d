"""Training of a style: photographs and style images in, a style network out.

A training has a working folder with `checkpoint.pt` (everything needed to resume) and `preview.png` (the style images; fixed
photos above, stylized below). Running the same training again resumes it from the last checkpoint; step k uses the same crops
either way.
"""

from __future__ import annotations

import io
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidstyle.core.concurrency import prefetch
from vidstyle.core.errors import DiskError, TrainingError
from vidstyle.core.files import replaced, writing
from vidstyle.core.options import TrainOptions
from vidstyle.networks.device import autocast, find_device
from vidstyle.networks.transformer_net import ARCHITECTURES, MARGIN
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.style_images import StyleImage
from vidstyle.studio.training.photos import CONTEXT, PhotoCrops
from vidstyle.studio.training.preview import preview_photos, preview_strip, stylize_image
from vidstyle.studio.training.schedule import Schedule
from vidstyle.studio.training.style_losses import MeanLosses, StyleLosses
from vidstyle.studio.training.temporal_loss import disturb, random_motion, temporal_loss, warp

log = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)

PREVIEW_SECONDS = 120.0
REPORT_EVERY = 50
EMA_DECAY = 0.998
RANGE_WEIGHT = 1.0
STATISTICS_BATCHES = 60


@dataclass(frozen=True)
class Progress:
    """The progress of a training: the `fraction` that is done, 0 to 1, and mean losses since the last report.

    `steps` None: as many as the time allows.
    """

    step: int
    steps: int | None
    fraction: float
    phase: str
    losses: dict[str, float]
    seconds_left: float


@dataclass(frozen=True)
class StartNet:
    """The net that a training starts from, None for random weights, and its family: nets of one family can be blended."""

    net: nn.Module | None = None
    family: str | None = None


class Trainer:
    """One training run. Iterate over `run()`; afterwards `net` is the trained one, in evaluation mode.

    `folder` is the working folder. `elapsed` returns the seconds since the command started, which a limit in minutes refers to.
    """

    def __init__(
        self,
        encoder: Encoder,
        style_images: Sequence[StyleImage],
        photos: PhotoCrops,
        folder: Path,
        options: TrainOptions,
        start: StartNet = StartNet(),
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        self.device = find_device("auto")
        torch.backends.cudnn.benchmark = True  # all batches have one size
        self.options, self.photos, self.folder, self.style_images = options, photos, folder, style_images
        self.from_scratch = start.net is None
        self.family = start.family or uuid.uuid4().hex[:12]
        torch.manual_seed(options.seed)
        self.net = _channels_last(start.net or ARCHITECTURES[options.architecture](), self.device)
        self.average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), options.learning_rate)
        self._style_losses = StyleLosses(_channels_last(encoder, self.device), style_images, options, self.device)
        self.step, self.seconds, self.losses = 0, 0.0, dict[str, float]()
        began = time.monotonic()
        self._elapsed = elapsed or (lambda: time.monotonic() - began)
        self.startup = 0.0
        self.schedule = Schedule(options, self.from_scratch)
        self._preview_photos = preview_photos(photos.preview)

    @property
    def fraction(self) -> float:
        """The fraction of the training that is done, 0 to 1."""
        return self.schedule.fraction(self.step, self.seconds)

    def run(self, check: Callable[[], None] = lambda: None) -> Iterator[Progress]:
        """Train to the end, yielding progress regularly. Raises `TrainingError` if a loss is not finite.

        `check` is called before every step; if it raises KeyboardInterrupt, a checkpoint is saved.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"could not create the working folder {self.folder} ({error.strerror})") from error
        self.startup = self._elapsed()
        self._resume()
        self.schedule = Schedule(self.options, self.from_scratch, self.startup)
        begun, spent, first = self._elapsed(), self.seconds, self.fraction
        previewed = begun
        batches = prefetch(self.photos.batches(self.step), depth=4)
        means = MeanLosses()
        try:
            while self.fraction < 1:
                self._check(check, means)
                phase = "identity" if self.schedule.in_identity(self.fraction) else "style"
                means.add(self._train_step(next(batches)))
                if self.device.type == "cpu":  # on a GPU, reading the losses would wait for it
                    self._read_losses(means)
                self.step += 1
                now = self._elapsed()
                self.seconds = spent + now - begun
                last = self.fraction == 1
                due = self.step % self.options.checkpoint_every == 0 or last
                if due or means.count == REPORT_EVERY:
                    self._read_losses(means)
                if due:
                    self._save()
                if now - previewed > PREVIEW_SECONDS or last:
                    self._preview()
                    previewed = now
                if means.count == REPORT_EVERY or last:
                    left = (now - begun) / max(self.fraction - first, 1e-9) * (1 - self.fraction)
                    yield Progress(self.step, self.schedule.steps, self.fraction, phase, self.losses, left)
                    means = MeanLosses()
        finally:
            batches.close()
        self._update_statistics(check)

    def _check(self, check: Callable[[], None], means: MeanLosses) -> None:
        try:
            check()
        except KeyboardInterrupt:
            self._read_losses(means)
            self._save()
            raise

    def _read_losses(self, means: MeanLosses) -> None:
        """Read the mean losses; raises `TrainingError` if one is not finite."""
        if not means.count:
            return
        losses = means.read()
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"the {name} became {value} at step {self.step}; the last checkpoint in {self.folder} is intact, "
                    "try a smaller learning rate"
                )
        self.losses = {k: v for k, v in losses.items() if k != "gradient"}

    def _train_step(self, batch: Tensor) -> dict[str, Tensor]:
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.schedule.learning_rate(self.fraction)
        context = self._to_device(batch)
        x = _crop(context, CONTEXT)
        if self.schedule.in_identity(self.fraction):
            raw = _crop(self._net(context), CONTEXT)
            losses = {"identity": (raw - x).abs().mean()}
        else:
            motion, moved = self._move(context)
            stylized, moved_stylized = self._net(torch.cat((context, moved))).chunk(2)
            raw = _crop(stylized, CONTEXT)
            losses = self._style_losses(x, _clamped(raw))
            losses["border"] = self.options.border_weight * self._border_loss(x[:1], raw[:1].detach())
            temporal = temporal_loss(_clamped(stylized), _clamped(moved_stylized), motion, CONTEXT)
            # The name under which the metadata of models records the temporal loss.
            losses["unsteady"] = self.options.consistency_weight * self.schedule.consistency(self.fraction) * temporal
        losses["range"] = RANGE_WEIGHT * (raw - raw.clamp(0, 1)).square().mean()
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self._update_average()
        return {"loss": loss.detach(), **{k: v.detach() for k, v in losses.items()}, "gradient": gradient}

    def _net(self, x: Tensor) -> Tensor:
        with autocast(self.device):
            return cast(Tensor, self.net(x)).float()

    def _move(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """A random motion, and `context` moved by it and disturbed; the same in every run of this step."""
        generator = torch.Generator(self.device).manual_seed(self.options.seed * 1_000_003 + self.step)
        motion = random_motion(len(context), context.shape[-1], generator)
        moved = disturb(warp(context, motion), generator)
        return motion, moved.contiguous(memory_format=torch.channels_last)

    def _border_loss(self, x: Tensor, stylized: Tensor) -> Tensor:
        """Mean |difference| of a crop stylized with a mirrored margin, as at a frame's border, and with its real surroundings."""
        with autocast(self.device):
            bordered = self._stylize(x)
        return (bordered.float() - stylized).abs().mean()

    def _stylize(self, x: Tensor) -> Tensor:
        """Pad, stylize and crop, as at run time."""
        return _crop(self.net(F.pad(x, (MARGIN,) * 4, mode="reflect")), MARGIN)

    def _update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)

    def _update_statistics(self, check: Callable[[], None]) -> None:
        """Load the averaged weights and track their norm statistics over many photographs, for use in inference."""
        self.net.load_state_dict(self.average)
        self.net.train()
        with torch.no_grad(), autocast(self.device):
            for _, batch in zip(range(STATISTICS_BATCHES), self.photos.batches(1_000_000), strict=False):
                check()
                self._stylize(self._to_device(batch))
        self.net.eval()

    def _to_device(self, batch: Tensor) -> Tensor:
        if self.device.type == "cuda" and batch.device.type == "cpu":
            batch = batch.pin_memory()  # so that the copy overlaps with work on the GPU
        x = batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return x.contiguous(memory_format=torch.channels_last)

    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal to resume. Steps and minutes may differ; the schedule then follows the new ones."""
        options = {k: v for k, v in asdict(self.options).items() if k not in ("steps", "minutes")}
        return {"options": options, "grams": {k: float(g.square().sum()) for k, g in self._style_losses.grams.items()}}

    def _is_same(self, fingerprint: Mapping[str, Any] | None) -> bool:
        own = self._fingerprint()
        if fingerprint is None or fingerprint.keys() != own.keys() or fingerprint["options"] != own["options"]:
            return False
        grams = fingerprint["grams"]  # devices differ in the last digits
        return all(math.isclose(value, grams[k], rel_tol=1e-2) for k, value in own["grams"].items())

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "startup": self.startup,
            "losses": self.losses,
            "family": self.family,
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "fingerprint": self._fingerprint(),
        }
        data, path = io.BytesIO(), self.folder / "checkpoint.pt"
        torch.save(state, data)
        with writing(path), replaced(path) as temporary:
            temporary.write_bytes(data.getbuffer())

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state: Mapping[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch.load raises many kinds for a broken file
            raise TrainingError(f"could not read {path} as a checkpoint; remove it to start over") from error
        if not self._is_same(state.get("fingerprint")):
            raise TrainingError(
                f"expected to resume the same training, {path} is of another style image or other options; "
                "remove it to start over"
            )
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = dict(state["average"]), state["step"]
        self.seconds, self.startup = state["seconds"], state["startup"]
        self.losses, self.family = state["losses"], state["family"]
        log.info("resuming after step %d, %.0f minutes into the training", self.step, self.seconds / 60)

    def _preview(self) -> None:
        """Write `preview.png`: fixed photographs above, stylized by the averaged net below."""
        state = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        stylized = [stylize_image(self.net, photo) for photo in self._preview_photos]
        image = preview_strip(self.style_images, self._preview_photos, stylized)
        self.net.load_state_dict(state)
        cv2.imwrite(str(self.folder / "preview.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _clamped(raw: Tensor) -> Tensor:
    """`raw` clamped to [0, 1], with gradients as if it were not."""
    return raw + (raw.clamp(0, 1) - raw).detach()


def _crop(x: Tensor, margin: int) -> Tensor:
    return x[..., margin:-margin, margin:-margin]


def _channels_last(module: M, device: torch.device) -> M:
    """`module` on `device`, in the layout in which convolutions are fastest (torch's types lack this form of `to`)."""
    return cast(M, module.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
