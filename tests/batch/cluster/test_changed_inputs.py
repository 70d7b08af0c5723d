"""The input of a divided run is replaced while workers stylize it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import EVENLY, GROUPS, options_of, run_job
from tests.support.helpers import noise, write_clip
from vidstyle.batch.cluster.worker import Model, Worker
from vidstyle.batch.cluster.worker_pool import Task, run_task
from vidstyle.core.errors import InputChangedError
from vidstyle.styles.catalog import find_style


class InProcess:
    """One worker in this process; `on_start` is called with each task before it is done."""

    workers = 1

    def __init__(self, on_start: Callable[[str], object] = lambda method: None) -> None:
        model = find_style("tiny")
        self._worker = Worker({"tiny": Model(model.name, model.read_bytes())})
        self._on_start, self._results = on_start, list[tuple[int, Any]]()
        self.methods: list[str] = []

    def start(self, task: Task) -> int | None:
        if self._results:
            return None
        self.methods.append(task.method)
        self._on_start(task.method)
        self._results.append((len(self.methods), run_task(self._worker, task, lambda count: None)))
        return len(self.methods)

    def results(self) -> list[tuple[int, Any]]:
        found, self._results = self._results, []
        return found

    def share_file(self, path: str) -> Any:
        raise AssertionError("the file is on this machine")

    def close(self) -> None:
        """Nothing to stop."""


@pytest.mark.parametrize("method", ["scan", "stylize_chunk"])
def test_changed_input_is_reported_and_finished_chunks_are_kept(tmp_path: Path, method: str) -> None:
    clip, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(clip, **EVENLY, options=GROUPS)
    write_clip(tmp_path / "other.mkv", **{**EVENLY, "image": noise}, options=GROUPS)

    def replace(started: str) -> None:
        if started == method and pool.methods.count(method) == 3:
            os.rename(clip, tmp_path / "before.mkv")
            shutil.copy2(tmp_path / "other.mkv", clip)

    pool = InProcess(replace)
    assert isinstance(run_job(pool, clip, output, options_of()).error, InputChangedError)
    assert not output.exists()
    kept = [path for path in tmp_path.rglob(".out.mkv.resume/*.mkv") if path.is_file()]
    assert len(kept) == (2 if method == "stylize_chunk" else 0)

    os.replace(tmp_path / "before.mkv", clip)
    again = InProcess()
    assert run_job(again, clip, output, options_of()).error is None
    assert output.exists()
    assert again.methods.count("stylize_chunk") == 7 - len(kept)
