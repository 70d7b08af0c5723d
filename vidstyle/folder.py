"""Inputs -> jobs -> outcomes: one file, several, or every video of a folder, one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from vidstyle.convert import Result, check_not_itself, convert
from vidstyle.errors import DiskError, InputError, OutputExistsError, UsageError, VidstyleError
from vidstyle.files import is_url
from vidstyle.frames import VideoInfo
from vidstyle.options import ConvertOptions, StyleOptions
from vidstyle.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, open_source
from vidstyle.stages import Stylizer
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.catalog import all_styles

_KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"} | IMAGE_SUFFIXES


@dataclass(frozen=True)
class Job:
    """One input (path or URL) and where its output goes."""

    spec: str
    output: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `result`, or `error`, or neither where the output was there already and could stay."""

    job: Job
    result: Result | None = None
    error: VidstyleError | None = None


class Reporter(Protocol):
    """Is told how the work goes."""

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None: ...

    def start(self, job: Job, info: VideoInfo) -> None: ...

    def frame(self, count: int) -> None: ...

    def done(self, outcome: Outcome) -> None: ...


def plan(inputs: Sequence[str], style: str, output: Path | None = None) -> list[Job]:
    """The jobs for `inputs`, each a file, a folder or a URL.

    Without `output`, `in.mp4` becomes `in.STYLE.mp4` beside it. `output` is a file for one input, else a folder.
    Raises `InputError` for a missing input or a folder without videos, `UsageError` if two jobs would share an output.
    """
    label = Path(style).stem if os.sep in style or Path(style).suffix else style
    specs = [spec for name in inputs for spec in _expand(name, label)]
    into_folder = output is not None and (
        len(specs) > 1 or output.is_dir() or str(output).endswith(os.sep) or any(_is_folder(name) for name in inputs)
    )
    jobs = []
    for spec in specs:
        name = default_name(spec, label)
        if output is None:
            jobs.append(Job(spec, Path(name) if is_url(spec) else Path(spec).with_name(name)))
        else:
            jobs.append(Job(spec, output / name if into_folder else output))
    seen: dict[Path, str] = {}
    for job in jobs:
        key = job.output.absolute()
        if key in seen:
            raise UsageError(f"{seen[key]} and {job.spec} would both be written to {job.output}; give them names of their own")
        seen[key] = job.spec
    return jobs


def default_name(spec: str, label: str) -> str:
    """`holiday.mp4` -> `holiday.mosaic.mp4`. A container that cannot be written becomes one that can; so does a GIF, unless it
    has transparent parts, which MP4 cannot hold."""
    path = Path(PurePosixPath(urlsplit(spec).path).name or "stream") if is_url(spec) else Path(spec)
    suffix = path.suffix.lower()
    kept = path.suffix if suffix in _KEPT_SUFFIXES else ".mkv"
    if suffix == ".gif":
        kept = ".gif" if not is_url(spec) and _is_transparent(spec) else ".mp4"
    return f"{path.stem}.{label}{kept}"


@cache
def _is_transparent(spec: str) -> bool:
    """Whether the first picture of a file has transparent parts; False where it cannot be read."""
    try:
        with closing(open_source(spec)) as source:
            return source.info.alpha
    except VidstyleError:
        return False


def _is_folder(name: str) -> bool:
    return not is_url(name) and Path(name).is_dir()


def _expand(name: str, label: str) -> list[str]:
    if is_url(name):
        return [name]
    path = Path(name)
    if not os.path.lexists(path):
        raise InputError(f"expected a video, picture or folder, found nothing: {name}")
    if not path.is_dir():
        return [name]
    videos = [p for p in sorted(path.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file() and p.name[0] != "."]
    # Outputs of an earlier run, in this style or another, are no inputs.
    made = {default_name(str(p), style) for p in videos for style in (label, *all_styles())}
    found = [str(p) for p in videos if p.name not in made]
    if not found:
        raise InputError(f"expected a folder with videos, found none in {name}")
    return found


def stylize(
    spec: str | os.PathLike[str],
    style: str = StyleOptions.style,
    output: str | os.PathLike[str] | None = None,
    options: ConvertOptions = ConvertOptions(),
) -> Result:
    """Paint one video or picture in `style` (a name or a model file); the output is named as on the command line.

    `options.style.style` gives way to `style`. Raises the kinds of `vidstyle.errors`.
    """
    options = replace(options, style=replace(options.style, style=style))
    jobs = plan([os.fspath(spec)], style, None if output is None else Path(output))
    if len(jobs) != 1:
        raise UsageError(f"expected one video or picture, {spec} is a folder of {len(jobs)}")
    return convert(jobs[0].spec, jobs[0].output, load_stylizer(options.style), options)


def run_jobs(jobs: Sequence[Job], stylizer: Stylizer, options: ConvertOptions, reporter: Reporter) -> list[Outcome]:
    """Convert one job after the other; a failure costs its own file only."""
    outcomes = []
    for job in jobs:
        outcome = _run_job(job, stylizer, options, reporter)
        outcomes.append(outcome)
        reporter.done(outcome)
    return outcomes


def _run_job(job: Job, stylizer: Stylizer, options: ConvertOptions, reporter: Reporter) -> Outcome:
    try:
        if options.skip_existing and job.output.exists():
            check_not_itself(job.spec, job.output)
            return Outcome(job)
        _make_folder(job.output.parent)
        result = convert(job.spec, job.output, stylizer, options, lambda info: reporter.start(job, info), reporter.frame)
        return Outcome(job, result)
    except VidstyleError as error:
        return Outcome(job, error=error)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputExistsError(f"expected a folder for the output, found a file: {folder}") from None
    except OSError as error:
        raise DiskError(f"could not make the folder {folder} ({error.strerror})") from error
