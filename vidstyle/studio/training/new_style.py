"""From paintings and photographs to a style that `--style NAME` finds."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from vidstyle.networks.transformer_net import MULTIPLE
from vidstyle.studio.perceptual.encoder import find_encoder
from vidstyle.studio.style_images import StyleImage, read_style_image
from vidstyle.studio.training.exemplar import save_exemplar
from vidstyle.studio.training.gpu_photos import open_crops
from vidstyle.studio.training.preview import paint, preview_photos
from vidstyle.studio.training.trainer import Progress, Trainer
from vidstyle.styles.catalog import add_style, all_styles, find_style, read_catalog, sha256, user_folder

log = logging.getLogger(__name__)

DEFAULT_START = {"compact": "udnie", "full": "none"}
"""The style that a training of an architecture goes on from; `none`: random weights."""
SMALLEST_PAINTING = 64
MOST_ENLARGED = 2.0
"""A painting that is enlarged more has no strokes as fine as those that are asked for."""


@dataclass(frozen=True)
class Trained:
    """A style before it is published: its file in the training's folder, its net, and its facts for the catalogue."""

    model: Path
    net: nn.Module
    facts: dict[str, Any]
    paintings: list[StyleImage]
    photos: list[Pixels]
    """Some that it was not trained on, uint8 (S, S, 3)."""

    def paint(self, photo: Pixels) -> Pixels:
        """`photo` as the net stylizes it, which the file should do alike."""
        return paint(self.net, photo)


class NewStyle:
    """A style to be: its name, the folder in which it will be published, its facts (title, painter, licence).

    Raises `TrainingError` for a name that cannot be a file's, `OutputExistsError` if there is a style or file of that name
    already and `overwrite` is not asked for, or it is one of the `paintings`.
    """

    def __init__(
        self, name: str, paintings: Sequence[Path], into: Path | None, overwrite: bool, facts: Mapping[str, str]
    ) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name == "none":
            raise TrainingError(f"expected a name of small letters, digits and hyphens, but not 'none', got '{name}'")
        self.name, self.folder, self.facts, self._paintings = name, into or user_folder(), facts, paintings
        self._model, self._exemplar = self.folder / f"{name}.onnx", self.folder / f"{name}.jpg"
        if not overwrite:
            self._check_free()
        for path in paintings:
            if self._exemplar.exists() and path.exists() and self._exemplar.samefile(path):
                raise OutputExistsError(f"the style's image would replace the painting {path}; choose another --name or --into")

    def _check_free(self) -> None:
        found = all_styles()
        where = self.folder if self.name in read_catalog(self.folder) else found[self.name][0] if self.name in found else None
        if where is not None:
            raise OutputExistsError(f"a style '{self.name}' is in {where} already; give --overwrite to use another by this name")
        for path in (self._model, self._exemplar):
            if path.exists():
                raise OutputExistsError(f"{path} is there already; give --overwrite to replace it")

    def train(
        self,
        photos: Callable[[], Sequence[Path]],
        encoder: str,
        options: TrainOptions,
        start: str | None,
        work: Path,
        command: str,
        began: float,
        check: Callable[[], None],
    ) -> Trained:
        """Train to the end and export into the folder `work`.

        `photos` finds the photographs, once all else is known to be well. `start`: a style's name or file, `none`, or None for
        the architecture's own. `check` is called at every step; when it raises KeyboardInterrupt the training can go on.
        """
        if options.crop % MULTIPLE:
            raise TrainingError(f"expected a crop divisible by {MULTIPLE}, got {options.crop}")
        paintings = [_read(path, options.style_size) for path in self._paintings]
        net, before = _start(start or DEFAULT_START[options.architecture], options.architecture)
        judge = find_encoder(encoder)
        crops = open_crops(photos(), options, find_device("auto"))
        trainer = Trainer(judge, paintings, crops, work, options, net, before.get("family"), began)
        much = f"{options.minutes:g} minutes" if options.minutes else f"{trainer.schedule.steps} steps"
        log.info("training '%s' on %s: %s, %d photographs; look at %s", self.name, trainer.device, much, len(crops.files),
                 work / "preview.png")  # fmt: skip
        for progress in trainer.run(check):
            log.info("%s", _line(progress))
        losses = {k: round(v, 5) for k, v in trainer.losses.items()}
        minutes = round((trainer.startup + trainer.seconds) / 60, 1)
        commands = [*json.loads(before.get("commands", "[]")), {"command": command, "losses": losses, "minutes": minutes}]
        facts = {"architecture": options.architecture, "family": trainer.family, **self.facts}
        model = work / self._model.name
        try:
            export_onnx(trainer.net.cpu(), options.architecture, model,
                        {"name": self.name, **facts, "commands": json.dumps(commands)})  # fmt: skip
        except OSError as error:
            raise self._unwritten(work, error) from error
        return Trained(model, trainer.net, {**facts, "training": commands}, paintings, preview_photos(crops.preview))

    def publish(self, trained: Trained, exemplar: Pixels | None) -> Path:
        """Put the style into its folder and the catalogue there; returns the model file. Raises `DiskError`."""
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
            raise self._unwritten(self.folder, error) from error
        return self._model

    def _unwritten(self, folder: Path, error: OSError) -> DiskError:
        return DiskError(f"could not write the style into {folder} ({error.strerror}); run again to export it")


def _read(path: Path, size: int) -> StyleImage:
    """The painting at `path`, to be seen with a short side of `size`."""
    painting = read_style_image(path)
    h, w = painting.pixels.shape[:2]
    if min(h, w) < SMALLEST_PAINTING:
        raise InputError(f"expected a painting of at least {SMALLEST_PAINTING} pixels a side to learn from, got {w}x{h}: {path}")
    if size > MOST_ENLARGED * min(h, w):
        log.warning("%s is small, %dx%d: for --style-size %d it is enlarged and its strokes become soft", path, w, h, size)
    return painting


def _start(name: str, architecture: str) -> tuple[nn.Module | None, dict[str, str]]:
    """The net of a style's name or file, and its facts; neither for `none`. Raises `UsageError` for another kind of net."""
    if name == "none":
        return None, {}
    net, facts = load_net(find_style(name))
    if facts["architecture"] != architecture:
        raise UsageError(
            f"expected to begin from a net of architecture {architecture}, {name} is {facts['architecture']}: "
            f"give --architecture {facts['architecture']} or another --from"
        )
    return net, facts


def _line(p: Progress) -> str:
    losses = "  ".join(f"{name} {value:.4f}" for name, value in p.losses.items())
    count = f"{p.step}/{p.steps}" if p.steps else f"{p.step}, {100 * p.part:.0f} %"
    return f"step {count} ({p.phase})  {losses}  {p.seconds_left / 60:.0f} min left"
