"""From style images and photographs to a style that `--style NAME` finds."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vidstyle.core.errors import DiskError, InputError, OutputExistsError, TrainingError, UsageError
from vidstyle.core.files import replaced
from vidstyle.core.frames import Pixels
from vidstyle.core.options import TrainOptions
from vidstyle.networks.device import find_device
from vidstyle.networks.export import export_onnx, load_net
from vidstyle.sinks import check_not_read
from vidstyle.studio.perceptual.encoder import find_encoder
from vidstyle.studio.style_images import StyleImage, read_style_image
from vidstyle.studio.training.exemplar import save_exemplar
from vidstyle.studio.training.gpu_photos import open_crops
from vidstyle.studio.training.preview import preview_photos, stylize_image
from vidstyle.studio.training.request import StyleFacts, TrainingPaths, TrainingSources
from vidstyle.studio.training.trainer import Progress, StartNet, Trainer
from vidstyle.styles.catalog import add_style, all_styles, find_style, read_catalog, sha256, user_folder

log = logging.getLogger(__name__)

DEFAULT_START = {"compact": "udnie", "full": "none"}
"""The style that a training of an architecture starts from; `none`: random weights."""
MIN_STYLE_SIDE = 64
"""Smallest short side of a style image to train on, in pixels."""
MAX_ENLARGEMENT = 2.0
"""A style image that is enlarged more than this lacks strokes of the requested size."""


@dataclass(frozen=True)
class Trained:
    """A style before it is published: its file in the working folder, its net, and its facts for the catalogue."""

    model: Path
    net: nn.Module
    facts: dict[str, Any]
    style_images: list[StyleImage]
    photos: list[Pixels]
    """Photographs that the net was not trained on, uint8 (S, S, 3)."""

    def stylize(self, photo: Pixels) -> Pixels:
        """`photo` as stylized by the net; the file should give the same."""
        return stylize_image(self.net, photo)


class NewStyle:
    """A style that is to be trained and published.

    Raises `TrainingError` for a name that cannot be a file's, `OutputExistsError` if a style or file of that name exists and is
    not to be overwritten, or is one of the files that the style is made from.
    """

    def __init__(self, style: StyleFacts, sources: TrainingSources, paths: TrainingPaths) -> None:
        name = style.name
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name == "none":
            raise TrainingError(f"expected a name of small letters, digits and hyphens, but not 'none', got '{name}'")
        self.name, self.folder = name, paths.into or user_folder()
        self.work = paths.work or Path(f"{name}.training")
        self.facts = {"title": style.title or name, "painter": style.painter, "year": style.year, "licence": style.licence}
        self._sources = sources
        self._model, self._exemplar = self.folder / f"{name}.onnx", self.folder / f"{name}.jpg"
        if not paths.overwrite:
            self._check_free()
        reads: list[tuple[str, str | Path | None]] = [("model to start from", sources.start), ("encoder", sources.encoder)]
        self._check_not_read([*reads, *(("style image", path) for path in sources.style_images)])

    def _check_not_read(self, reads: Sequence[tuple[str, str | Path | None]]) -> None:
        for path in (self._model, self._exemplar, self.work / self._model.name, self.work / "preview.png"):
            check_not_read(path, reads)

    def _check_free(self) -> None:
        found = all_styles()
        where = self.folder if self.name in read_catalog(self.folder) else found[self.name][0] if self.name in found else None
        if where is not None:
            raise OutputExistsError(f"a style '{self.name}' exists in {where} already; use --overwrite to replace it")
        for path in (self._model, self._exemplar):
            if path.exists():
                raise OutputExistsError(f"{path} exists already; use --overwrite to replace it")

    def train(
        self,
        find_photos: Callable[[], Sequence[Path]],
        options: TrainOptions,
        command: str,
        began: float,
        check: Callable[[], None],
    ) -> Trained:
        """Train to the end and export into the working folder.

        `find_photos` returns the photographs; it is called after all other inputs have been checked. `began`: when the command
        started, by `time.monotonic`. `check` is called at every step; after it raised KeyboardInterrupt, training can resume.
        """
        style_images = [_read(path, options.style_size) for path in self._sources.style_images]
        start, metadata = _load_start(self._sources.start or DEFAULT_START[options.architecture], options.architecture)
        encoder = find_encoder(self._sources.encoder)
        photos = find_photos()
        self._check_not_read([("photograph", path) for path in photos])
        crops = open_crops(photos, options, find_device("auto"))
        trainer = Trainer(encoder, style_images, crops, self.work, options, start, lambda: time.monotonic() - began)
        length = f"{options.minutes:g} minutes" if options.minutes else f"{trainer.schedule.steps} steps"
        log.info("training '%s' on %s: %s, %d photographs; preview: %s", self.name, trainer.device, length, len(crops.files),
                 self.work / "preview.png")  # fmt: skip
        for progress in trainer.run(check):
            log.info("%s", _line(progress))
        losses = {k: round(v, 5) for k, v in trainer.losses.items()}
        minutes = round((trainer.startup + trainer.seconds) / 60, 1)
        commands = [*json.loads(metadata.get("commands", "[]")), {"command": command, "losses": losses, "minutes": minutes}]
        facts = {"architecture": options.architecture, "family": trainer.family, **self.facts}
        model = self.work / self._model.name
        try:
            export_onnx(trainer.net.cpu(), options.architecture, model,
                        {"name": self.name, **facts, "commands": json.dumps(commands)})  # fmt: skip
        except OSError as error:
            raise self._write_error(self.work, error) from error
        return Trained(model, trainer.net, {**facts, "training": commands}, style_images, preview_photos(crops.preview))

    def publish(self, trained: Trained, exemplar: Pixels | None) -> Path:
        """Copy the style into its folder and add it to the catalogue there; returns the model file. Raises `DiskError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replaced(self._model) as temporary:
                shutil.copyfile(trained.model, temporary)
            entry = {"file": self._model.name, "sha256": sha256(self._model), **trained.facts}
            if exemplar is not None:
                save_exemplar(exemplar, self._exemplar)
                entry["exemplar"] = {"file": self._exemplar.name, "sha256": sha256(self._exemplar)}
            add_style(self.folder, self.name, entry)
        except OSError as error:
            raise self._write_error(self.folder, error) from error
        return self._model

    def _write_error(self, folder: Path, error: OSError) -> DiskError:
        return DiskError(f"could not write the style into {folder} ({error.strerror}); run again to export it")


def _read(path: Path, size: int) -> StyleImage:
    """The style image at `path`, which will be resized to a short side of `size`."""
    style_image = read_style_image(path)
    h, w = style_image.pixels.shape[:2]
    if min(h, w) < MIN_STYLE_SIDE:
        raise InputError(f"expected a style image of at least {MIN_STYLE_SIDE} pixels per side to train on, got {w}x{h}: {path}")
    if size > MAX_ENLARGEMENT * min(h, w):
        log.warning("%s is small, %dx%d: for --style-size %d it is enlarged and its strokes become soft", path, w, h, size)
    return style_image


def _load_start(name: str, architecture: str) -> tuple[StartNet, dict[str, str]]:
    """The net of a style's name or file, and its metadata; for `none` there is neither.

    Raises `UsageError` for a net of another architecture.
    """
    if name == "none":
        return StartNet(), {}
    net, facts = load_net(find_style(name))
    if facts["architecture"] != architecture:
        raise UsageError(
            f"expected to start from a net of architecture {architecture}, {name} is {facts['architecture']}: "
            f"use --architecture {facts['architecture']} or another --from"
        )
    return StartNet(net, facts.get("family")), facts


def _line(p: Progress) -> str:
    losses = "  ".join(f"{name} {value:.4f}" for name, value in p.losses.items())
    count = f"{p.step}/{p.steps}" if p.steps else f"{p.step}, {100 * p.fraction:.0f} %"
    return f"step {count} ({p.phase})  {losses}  {p.seconds_left / 60:.0f} min left"
