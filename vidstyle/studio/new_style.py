"""From paintings and photographs to a style that `--style NAME` finds."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidstyle.errors import DiskError, OutputExistsError, TrainingError
from vidstyle.options import TrainOptions
from vidstyle.studio.export import export_onnx, load_net
from vidstyle.studio.perceptual import find_encoder
from vidstyle.studio.photos import PhotoCrops, read_image
from vidstyle.studio.training import Progress, Trainer
from vidstyle.studio.transformer_net import MULTIPLE
from vidstyle.stylizers.catalog import add_style, find_style, read_catalog, sha256, user_folder

log = logging.getLogger(__name__)


class NewStyle:
    """A style to be: its name, where it will live, its facts (title, painter, licence).

    Raises `TrainingError` for a name that cannot be a file's, `OutputExistsError` if there is one already.
    """

    def __init__(self, name: str, into: Path | None, overwrite: bool, facts: dict[str, str]) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise TrainingError(f"expected a name of small letters, digits and hyphens, got '{name}'")
        self.name, self.folder, self.facts = name, into or user_folder(), facts
        if not overwrite and name in read_catalog(self.folder):
            raise OutputExistsError(f"a style '{name}' is in {self.folder} already; give --overwrite to replace it")

    def train(
        self,
        paintings: Sequence[Path],
        photos: Sequence[Path],
        encoder: str,
        options: TrainOptions,
        start: str | None,
        work: Path | None,
        command: str,
    ) -> Path:
        """Train to the end, export, enter into the catalogue; returns the model file."""
        if options.crop % MULTIPLE:
            raise TrainingError(f"expected a crop divisible by {MULTIPLE}, got {options.crop}")
        began, net, commands = time.monotonic(), None, []
        if start is not None:
            net, before = load_net(find_style(start))
            options = replace(options, architecture=before["architecture"])
            commands = json.loads(before.get("commands", "[]"))
        work = work or Path(f"{self.name}.training")
        crops = PhotoCrops(photos, options)
        trainer = Trainer(find_encoder(encoder), [read_image(p) for p in paintings], crops, work, options, net)
        log.info("training '%s' on %s: %d steps, %d photographs; previews in %s", self.name, trainer.device,
                 trainer.steps, len(crops.files), work)  # fmt: skip
        last = None
        for last in trainer.run():
            log.info("%s", _line(last))
        figures = json.dumps({k: round(v, 5) for k, v in last.losses.items()}) if last else "{}"
        commands.append({"command": command, "losses": json.loads(figures), "minutes": round((time.monotonic() - began) / 60, 1)})
        return self._export(trainer, options.architecture, commands)

    def _export(self, trainer: Trainer, architecture: str, commands: list[object]) -> Path:
        path = self.folder / f"{self.name}.onnx"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            facts = {"name": self.name, **self.facts, "commands": json.dumps(commands)}
            export_onnx(trainer.net.cpu(), architecture, path, facts)
            entry = {"file": path.name, "sha256": sha256(path), "architecture": architecture, **self.facts, "training": commands}
            add_style(self.folder, self.name, entry)
        except OSError as error:
            raise DiskError(f"could not write the style into {self.folder} ({error.strerror}); run again to export it") from error
        return path


def _line(p: Progress) -> str:
    losses = "  ".join(f"{name} {value:.4f}" for name, value in p.losses.items())
    return f"step {p.step}/{p.steps} ({p.phase})  {losses}  {p.seconds_left / 60:.0f} min left"
