"""What Python callers use besides `vidstyle.api.video_io`: one call that converts files and folders, and a `Stylizer` to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, overload

from vidstyle.api.options_from import names_of, options_of, refuse_unknown
from vidstyle.api.stylizer import FILE_OPTIONS, STYLE_OPTIONS, Progress, StrPath, Stylizer
from vidstyle.batch.session import Session, SilentReporter
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import BatchOptions, ConvertOptions, Selection, StyleOptions

__all__ = ["Progress", "StrPath", "Stylizer", "stylize"]


@overload
def stylize(
    input: StrPath,
    output: StrPath | None = None,
    *,
    style: StrPath = StyleOptions.style,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
    **options: Any,
) -> Any: ...  # a `Result` for a file, a list for a folder


@overload
def stylize(
    input: Iterable[StrPath],
    output: StrPath | None = None,
    *,
    style: StrPath = StyleOptions.style,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
    **options: Any,
) -> list[JobResult]: ...


def stylize(
    input: StrPath | Iterable[StrPath],
    output: StrPath | None = None,
    *,
    style: StrPath = StyleOptions.style,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
    **options: Any,
) -> Any:
    """Convert a video or an image, or all of a folder or of several inputs, in `style`, as the command line does.

    `style` is a name, a model file, a blend or a timeline. Without `output`, `in.mp4` becomes `in.STYLE.mp4` beside it; it
    appears whole or not at all. `options` are the fields of `ConvertOptions` and of the dataclasses in it, by name: `height=480,
    device="cpu", stabilize="strong", start=5, quality=85`... `progress` is called in the caller's thread; what it raises ends
    the work, and nothing is left of the unfinished output.

    One file gives a `Result`, or raises. A folder, or an iterable of files, folders and URLs, gives a list of `JobResult`s, one
    for each file, each with a `result`, an `error`, or the reason why it was `skipped`: a bad file does not stop the others, and
    outputs that an earlier call finished are skipped. `output` is then a folder or a template such as
    `"{folder}/{stem}.{style}{ext}"`; `recursive`, `include` and `exclude` (sequences of patterns) select the files of folders.

    Raises the kinds of `VidstyleError`; `TypeError` for an unknown option.
    """
    refuse_unknown("stylize", options, names_of(ConvertOptions) | names_of(Selection))
    values = {**options, "style": style, "overwrite": overwrite}
    convert_options, selection = options_of(ConvertOptions, values), options_of(Selection, values)
    if isinstance(input, str | os.PathLike):
        if not os.path.isdir(input):
            stylizer = Stylizer(style, **{name: value for name, value in options.items() if name in STYLE_OPTIONS})
            file_options = {name: value for name, value in options.items() if name in FILE_OPTIONS}
            return stylizer.convert(input, output, overwrite=overwrite, progress=progress, **file_options)
        input = [input]
    batch = BatchOptions(None if output is None else os.fspath(output), selection)
    reporter = SilentReporter() if progress is None else _ProgressReporter(progress)
    return Session([os.fspath(path) for path in input], [convert_options.style.style], convert_options, batch, reporter).run()


class _ProgressReporter(SilentReporter):
    """Calls a `Progress` after every frame; it counts from 1 for each file."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._expected: int | None = None

    def start(self, job: Job, info: VideoInfo) -> None:
        """See `Reporter`."""
        self._expected = info.frame_count_estimate

    def frame(self, job: Job, count: int) -> None:
        """See `Reporter`."""
        self._progress(count, self._expected)
