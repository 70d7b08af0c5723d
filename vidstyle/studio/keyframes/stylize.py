"""Keyframes of a clip: chosen, stylized one from the other, and a net fine-tuned to paint what lies between them.

Every part is kept in a `WorkFolder` with what it was made from, and made again only if that has changed: an interrupted run
goes on where it stood, and a retouched keyframe costs the ones stylized from it, and the net.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import KeyframeOptions, PaintOptions
from vidstyle.networks.export import export_onnx
from vidstyle.studio.keyframes.cuts import find_shots
from vidstyle.studio.keyframes.finetune import FineTuning, nearest_net
from vidstyle.studio.keyframes.work_folder import WorkFolder, fingerprint
from vidstyle.studio.optimize.gatys import Step
from vidstyle.studio.optimize.image_optimizer import Neighbour, Painter
from vidstyle.studio.perceptual.encoder import encoder_digest, find_encoder
from vidstyle.studio.style_images import Painting
from vidstyle.styles.catalog import shipped_models
from vidstyle.temporal.propagation import KeyframePicker
from vidstyle.temporal.tracking import Sight, Tracker

VERSION = 1
"""To be raised when the same options come to paint otherwise: nothing stylized before is taken for current then."""
NOT_SEEN = {"device", "memory"}
"""Options that make no difference to be seen."""
PLAN, NET, CHECKPOINT = "keyframes.json", "net.onnx", "net.pt"
PREVIEW_SECONDS, PREVIEW_HEIGHT, PREVIEW_MOST = 5.0, 120, 12
"""The preview strip: how often it is written, the height of its images, and how many keyframes it shows, the latest."""


class Report(Protocol):
    """Is told how the work goes: at what, how far of how much, and the seconds left if they can be told."""

    def __call__(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How many frames a clip has; the numbers of those that begin a shot, and of the keyframes, ascending from 0."""

    frames: int
    shots: list[int]
    keyframes: list[int]

    def parent(self, number: int) -> int | None:
        """The keyframe that keyframe `number` is stylized from: the one before it in its shot."""
        before = max((n for n in self.keyframes if n < number), default=None)
        cut = before is not None and any(before < shot <= number for shot in self.shots)
        return None if cut else before


def choose(
    folder: WorkFolder, open_frames: Callable[[], Iterator[Pixels]], origin: str, options: KeyframeOptions, report: Report
) -> Plan:
    """Find shots and keyframes and save each keyframe as it was filmed, unless `folder` has them.

    `open_frames` opens the clip and yields its images (H, W, 3); it is called for every pass. `origin` tells the clip from
    others. Raises `UsageError` for keyframes that the clip does not have, `InputError` for a clip without frames.
    """
    made_from = fingerprint(origin, options.every, options.keyframes)
    if folder.made_from(PLAN) == made_from:
        plan = Plan(**folder.facts(PLAN))
        if all((folder.path / frame_name(n)).exists() for n in plan.keyframes):
            return plan

    def told(what: str, total: int | None) -> Iterator[Pixels]:
        for number, frame in enumerate(open_frames(), 1):
            report(what, number, total, None)
            yield frame

    count, shots = find_shots(told("looking for cuts", None))
    if not count:
        raise InputError("expected frames to paint, got none")
    outside = [n for n in options.keyframes or () if not 0 <= n < count]
    if outside:
        raise UsageError(f"expected keyframes from 0 to {count - 1}, the clip's frames, got {', '.join(map(str, outside))}")
    chosen, picker = [], KeyframePicker()
    for number, frame in enumerate(told("choosing keyframes", count)):
        if options.keyframes is not None:
            wanted = number in options.keyframes
        elif options.every is not None:
            wanted = (number - max(s for s in shots if s <= number)) % options.every == 0
        else:
            wanted = picker.is_keyframe(frame, number in shots)
        if wanted:
            chosen.append(number)
            folder.save_image(frame_name(number), frame, fingerprint(origin, number))
    plan = Plan(count, shots, chosen)
    folder.save_facts(PLAN, made_from, **asdict(plan))
    return plan


class KeyframePainting:
    """The keyframes of `plan` in `folder`, each stylized from the one before it, moved along; the first of a shot from itself.

    `mask` float32 (H, W) in [0, 1]: where style is wanted.
    """

    def __init__(
        self,
        folder: WorkFolder,
        plan: Plan,
        paintings: Sequence[Painting],
        options: PaintOptions,
        report: Report,
        mask: np.ndarray | None = None,
    ) -> None:
        self._folder, self._plan, self._paintings, self._options = folder, plan, paintings, options
        self._report, self._mask = report, mask
        look = [p.digest() for p in paintings], encoder_digest(options.encoder), None if mask is None else mask.tobytes().hex()
        self._recipe = fingerprint(VERSION, {k: v for k, v in asdict(options).items() if k not in NOT_SEEN}, look)
        self._tracker, self._strip = Tracker(), _Strip(folder, plan.keyframes)
        self._painter: Painter | None = None
        self._seconds = list[float]()

    def run(self) -> list[int]:
        """Paint what is not stylized yet, or was stylized from something else by now; returns the numbers of those.

        Retouched keyframes stay as they are. Raises `InputError` for one that has another size.
        """
        redone = []
        for place, number in enumerate(self._plan.keyframes):
            name, parent = stylized_name(number), self._plan.parent(number)
            made_from = fingerprint(
                self._recipe,
                self._folder.digest(frame_name(number)),
                None if parent is None else self._folder.digest(stylized_name(parent)),
            )
            if self._folder.was_retouched(name):
                self.load(number)  # fails if it does not fit
            elif self._folder.made_from(name) != made_from:
                self._folder.save_image(name, self._paint(place, number, parent), made_from)
                redone.append(number)
        self._strip.write()
        return redone

    def load(self, number: int) -> tuple[Pixels, Pixels]:
        """A keyframe as it was filmed and as it was stylized. Raises `InputError` if the latter has another size."""
        frame = self._folder.load_image(frame_name(number))
        h, w = frame.shape[:2]
        return frame, self._folder.load_image(stylized_name(number), (h, w))

    def digest(self) -> str:
        """Of all keyframes as they are stylized now."""
        return fingerprint([self._folder.digest(stylized_name(n)) for n in self._plan.keyframes])

    def _paint(self, place: int, number: int, parent: int | None) -> Pixels:
        painter = self._painter = self._painter or Painter(self._paintings, self._options)
        frame = self._folder.load_image(frame_name(number))
        began = shown = time.monotonic()
        step: Step | None = None
        for step in painter.paint(frame, self._mask, None if parent is None else self._moved(parent, frame)):
            now = time.monotonic()
            self._report(f"painting keyframe {place + 1} of {len(self._plan.keyframes)}", step.step, step.steps,
                         self._seconds_left(place, step, now - began))  # fmt: skip
            if now - shown > PREVIEW_SECONDS:
                self._strip.write(number, painter.finished(frame, step, self._mask))
                shown = now
        assert step is not None
        self._seconds.append(time.monotonic() - began)
        return painter.finished(frame, step, self._mask)

    def _seconds_left(self, place: int, step: Step, so_far: float) -> float:
        this = so_far / step.step * (step.steps - step.step)
        each = float(np.mean(self._seconds)) if self._seconds else so_far + this
        return this + each * (len(self._plan.keyframes) - place - 1)

    def _moved(self, parent: int, frame: Pixels) -> Neighbour:
        """The painting of keyframe `parent`, moved to where its scene is in `frame`."""
        then, stylized = self.load(parent)
        moved, trust = self._tracker.track(Sight(frame), Sight(then)).carry(stylized)
        return Neighbour(np.asarray((moved + 0.5).clip(0, 255), np.uint8), trust)


def fine_tuned_net(folder: WorkFolder, plan: Plan, keyframes: KeyframePainting, options: KeyframeOptions, report: Report) -> Path:
    """The style file of a net that stylizes frames as `keyframes` are stylized, trained unless `folder` has it."""
    made_from = fingerprint(VERSION, keyframes.digest(), options.net_steps)
    path = folder.path / NET
    if folder.made_from(NET) == made_from:
        return path
    pairs = [keyframes.load(n) for n in plan.keyframes]
    net, start = nearest_net(pairs, shipped_models())
    training = FineTuning(
        net, find_encoder("compact"), pairs, options.net_steps, folder.path / CHECKPOINT, made_from, options.device
    )
    began, first = time.monotonic(), None
    for step, _ in training.run():
        first = step - 1 if first is None else first
        left = (time.monotonic() - began) / (step - first) * (options.net_steps - step)
        report("fine-tuning the net", step, options.net_steps, left)
    export_onnx(training.net.cpu(), "compact", path, {"name": "keyframes", "from": start.stem})
    folder.note(NET, made_from)
    (folder.path / CHECKPOINT).unlink(missing_ok=True)
    return path


class _Strip:
    """`preview.jpg`: keyframes as they were filmed above, as they are stylized below."""

    def __init__(self, folder: WorkFolder, numbers: Sequence[int]) -> None:
        self._folder, self._numbers = folder, numbers
        self._columns = dict[int, Pixels]()

    def write(self, latest: int | None = None, image: Pixels | None = None) -> None:
        """Write it with what is stylized up to now; `image` is keyframe `latest` in the making."""
        if latest is None:
            self._columns.clear()
        there = [n for n in self._numbers if (self._folder.path / stylized_name(n)).exists() and (latest is None or n < latest)]
        columns = [self._column(n, None) for n in there[-PREVIEW_MOST:]]
        if latest is not None:
            columns.append(self._column(latest, image))
        if columns:
            self._folder.save_preview(np.concatenate(columns[-PREVIEW_MOST:], axis=1))

    def _column(self, number: int, image: Pixels | None) -> Pixels:
        if image is None and number in self._columns:
            return self._columns[number]
        stylized = self._folder.load_image(stylized_name(number)) if image is None else image
        column = np.concatenate([_thumbnail(p) for p in (self._folder.load_image(frame_name(number)), stylized)])
        if image is None:
            self._columns[number] = column
        return column


def _thumbnail(image: Pixels) -> Pixels:
    h, w = image.shape[:2]
    size = max(1, round(w * PREVIEW_HEIGHT / h)), PREVIEW_HEIGHT
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def frame_name(number: int) -> str:
    """Where keyframe `number` lies as it was filmed."""
    return f"frames/{number:06}.png"


def stylized_name(number: int) -> str:
    """Where keyframe `number` lies as it was stylized."""
    return f"stylized/{number:06}.png"
