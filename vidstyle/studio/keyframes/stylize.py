"""The keyframes of a clip: stylizing each from the previous one, and fine-tuning a net for the frames between.

Every file is kept in a `WorkFolder` with what it was made from, and made again only if that has changed: an interrupted run
resumes where it stopped, and after retouching a keyframe only those stylized from it, and the net, are made again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.files import writing
from vidstyle.core.frames import Pixels
from vidstyle.core.options import KeyframeOptions, PaintOptions
from vidstyle.networks.export import export_onnx
from vidstyle.studio.keyframes.finetune import FineTuning, nearest_net
from vidstyle.studio.keyframes.plan import KeyframePlan, ReportProgress
from vidstyle.studio.keyframes.work_folder import WorkFolder, fingerprint, frame_name, stylized_name
from vidstyle.studio.optimize.gatys import Step
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer, WarpedResult
from vidstyle.studio.perceptual.encoder import encoder_digest, find_encoder
from vidstyle.studio.style_images import StyleImage
from vidstyle.styles.catalog import shipped_models
from vidstyle.temporal.tracking import FlowImage, Tracker

VERSION = 1
"""Increase it when the same options come to give another result: then keyframes stylized before are not reused."""
IRRELEVANT_OPTIONS = {"device", "memory"}
"""Options that do not change the result."""
NET, CHECKPOINT = "net.onnx", "net.pt"
PREVIEW_SECONDS, PREVIEW_HEIGHT, PREVIEW_KEYFRAMES = 5.0, 120, 12
"""The preview strip: seconds between updates, the height of its images, and the number of the latest keyframes that it shows."""


class KeyframeOptimization:
    """Stylizes the keyframes of `plan` in `folder`, each starting from the previous stylized one, warped by optical flow; the
    first of a shot starts from itself.

    `mask` float32 (H, W) in [0, 1]: where style is wanted.
    """

    def __init__(
        self,
        folder: WorkFolder,
        plan: KeyframePlan,
        style_images: Sequence[StyleImage],
        options: PaintOptions,
        report: ReportProgress,
        mask: np.ndarray | None = None,
    ) -> None:
        self._folder, self._plan, self._style_images, self._options = folder, plan, style_images, options
        self._report, self._mask = report, mask
        style = (
            [s.digest() for s in style_images],
            encoder_digest(options.encoder),
            None if mask is None else mask.tobytes().hex(),
        )
        self._fingerprint = fingerprint(VERSION, {k: v for k, v in asdict(options).items() if k not in IRRELEVANT_OPTIONS}, style)
        self._tracker, self._preview = Tracker(), _PreviewStrip(folder, plan.keyframes)
        self._optimizer: ImageOptimizer | None = None
        self._seconds = list[float]()

    def run(self) -> list[int]:
        """Stylize the keyframes that are not up to date; returns their numbers.

        Retouched keyframes stay as they are. Raises `InputError` if one has another size.
        """
        stylized = []
        for position, number in enumerate(self._plan.keyframes):
            name, parent = stylized_name(number), self._plan.parent(number)
            made_from = fingerprint(
                self._fingerprint,
                self._folder.digest(frame_name(number)),
                None if parent is None else self._folder.digest(stylized_name(parent)),
            )
            if self._folder.was_retouched(name):
                self.load(number)  # raises if its size differs
            elif self._folder.made_from(name) != made_from:
                self._folder.save_image(name, self._stylize(position, number, parent), made_from)
                stylized.append(number)
        self._preview.write()
        return stylized

    def load(self, number: int) -> tuple[Pixels, Pixels]:
        """The original keyframe and the stylized one. Raises `InputError` if the latter has another size."""
        frame = self._folder.load_image(frame_name(number))
        h, w = frame.shape[:2]
        return frame, self._folder.load_image(stylized_name(number), (h, w))

    def digest(self) -> str:
        """A digest of all stylized keyframes as they are now."""
        return fingerprint([self._folder.digest(stylized_name(n)) for n in self._plan.keyframes])

    def _stylize(self, position: int, number: int, parent: int | None) -> Pixels:
        optimizer = self._optimizer = self._optimizer or ImageOptimizer(self._style_images, self._options)
        frame = self._folder.load_image(frame_name(number))
        began = shown = time.monotonic()
        step: Step | None = None
        for step in optimizer.optimize(frame, self._mask, None if parent is None else self._warped(parent, frame)):
            now = time.monotonic()
            self._report(f"stylizing keyframe {position + 1} of {len(self._plan.keyframes)}", step.step, step.steps,
                         self._seconds_left(position, step, now - began))  # fmt: skip
            if now - shown > PREVIEW_SECONDS:
                self._preview.write(number, optimizer.result(frame, step, self._mask))
                shown = now
        assert step is not None
        self._seconds.append(time.monotonic() - began)
        return optimizer.result(frame, step, self._mask)

    def _seconds_left(self, position: int, step: Step, so_far: float) -> float:
        current = so_far / step.step * (step.steps - step.step)
        each = float(np.mean(self._seconds)) if self._seconds else so_far + current
        return current + each * (len(self._plan.keyframes) - position - 1)

    def _warped(self, parent: int, frame: Pixels) -> WarpedResult:
        """The stylized keyframe `parent`, warped to `frame`."""
        then, stylized = self.load(parent)
        moved, trust = self._tracker.track(FlowImage(frame), FlowImage(then)).warp(stylized)
        return WarpedResult(np.asarray((moved + 0.5).clip(0, 255), np.uint8), trust)


def fine_tuned_net(
    folder: WorkFolder, plan: KeyframePlan, keyframes: KeyframeOptimization, options: KeyframeOptions, report: ReportProgress
) -> Path:
    """The model file of a net that stylizes frames as `keyframes` are stylized; it is trained unless `folder` has it."""
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
        report("fine-tuning the network", step, options.net_steps, left)
    with writing(path):
        export_onnx(training.net.cpu(), "compact", path, {"name": "keyframes", "from": start.stem})
    folder.record(NET, made_from)
    (folder.path / CHECKPOINT).unlink(missing_ok=True)
    return path


class _PreviewStrip:
    """`preview.jpg`: original keyframes above, stylized ones below."""

    def __init__(self, folder: WorkFolder, numbers: Sequence[int]) -> None:
        self._folder, self._numbers = folder, numbers
        self._columns = dict[int, Pixels]()

    def write(self, latest: int | None = None, image: Pixels | None = None) -> None:
        """Write the strip with all keyframes stylized so far; `image` is the current state of keyframe `latest`."""
        if latest is None:
            self._columns.clear()
        done = [n for n in self._numbers if (self._folder.path / stylized_name(n)).exists() and (latest is None or n < latest)]
        columns = [self._column(n, None) for n in done[-PREVIEW_KEYFRAMES:]]
        if latest is not None:
            columns.append(self._column(latest, image))
        if columns:
            self._folder.save_preview(np.concatenate(columns[-PREVIEW_KEYFRAMES:], axis=1))

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
