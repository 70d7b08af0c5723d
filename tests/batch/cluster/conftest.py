"""Clips, and what a run without workers makes of them, for all tests of several workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cluster import convert_whole_in, make_videos_in, options_of
from tests.support.helpers import identity_model
from vidstyle.batch.cluster.scheduler import open_worker_pool
from vidstyle.batch.cluster.worker_pool import WorkerPool
from vidstyle.conversion.convert import Result
from vidstyle.core.options import ClusterOptions


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a clip of `VIDEOS` or `UNDIVIDED`, once."""
    return make_videos_in(tmp_path_factory)


@pytest.fixture(scope="session")
def converted_whole(video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Result, Path]]:
    """Converts a clip without workers, once for each set of options."""
    return convert_whole_in(tmp_path_factory, video)


@pytest.fixture(scope="session")
def foreign_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of another tool, which works at one size only."""
    return str(identity_model(tmp_path_factory.mktemp("foreign") / "other.onnx", (1, 3, 32, 40)))


@pytest.fixture(scope="module")
def pool(styles: Path, foreign_model: str) -> Iterator[WorkerPool]:
    """Two workers for all tests of a file; a worker that is killed is replaced."""
    with closing(open_worker_pool(["tiny", "slow", foreign_model], options_of(), ClusterOptions(2))) as pool:
        yield pool
