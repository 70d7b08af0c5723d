"""Plans the jobs of a run before it starts: which inputs are stylized, in which styles, and where the outputs go."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from vidstyle.batch.output_paths import OutputPaths
from vidstyle.conversion.job import Job
from vidstyle.core.errors import InputError, OutputExistsError, UsageError, VidstyleError
from vidstyle.core.files import is_url, reason, resolved
from vidstyle.core.options import Selection
from vidstyle.sources.discovery import FoundInput, SearchResult, find_inputs
from vidstyle.styles.catalog import all_styles
from vidstyle.styles.spec import label_of

log = logging.getLogger(__name__)

_MAX_LISTED = 3
"""How many missing inputs an error names; the others are only counted."""


def plan(
    inputs: Sequence[str], styles: Sequence[str], output: str | None = None, selection: Selection = Selection()
) -> list[Job]:
    """The jobs for `inputs`, each a file, a folder or a URL: one for every input and style. See `Planner`."""
    return Planner(inputs, styles, output, selection).plan()


class Planner:
    """Plans jobs for `inputs`, each a file, a folder or a URL, stylized in every one of `styles`.

    For `output` see `OutputPaths`: it may be a file if there is only one job. `selection` filters the files in folders. An input
    that is found twice is planned once.

    Raises `InputError` for missing inputs, `UsageError` for no inputs or an unsuitable `output`.
    """

    def __init__(
        self, inputs: Sequence[str], styles: Sequence[str], output: str | None = None, selection: Selection = Selection()
    ) -> None:
        if not inputs:
            raise UsageError("expected a video, an image or a folder, got no input")
        _check_exist(inputs)
        self._inputs, self._styles, self._selection = inputs, list(dict.fromkeys(styles)), selection
        self.folders = [name for name in inputs if _is_folder(name)]
        self.direct_inputs = [name for name in inputs if not _is_folder(name)]
        """The files and URLs among the inputs."""
        several = bool(self.folders) or len({_key(name) for name in self.direct_inputs}) * len(self._styles) > 1
        self._output_paths = OutputPaths(output, several)
        self.unreadable: set[str] = set()
        """The folders found so far that could not be read, so that their files are missing from the jobs."""
        self._planned: set[str] = set()

    def plan(self) -> list[Job]:
        """All jobs at present, in the order of the inputs, then of the styles.

        Raises `InputError` for a folder without inputs, `UsageError` or `OutputExistsError` if an output is also an input or the
        output of another job.
        """
        found = self._found(strict=True)
        jobs = self._jobs(found)
        for _, error in _collisions(jobs, _folders(found)):
            raise error
        return jobs

    def files_in_folders(self) -> list[str]:
        """The files in the folders that `plan` would include now; a folder that cannot be read has none."""
        return [found.input for found in self._found(strict=False) if not found.explicit]

    def plan_for(self, inputs: Collection[str]) -> list[Job]:
        """The jobs of `plan` for some of its inputs: files from `files_in_folders`, or some of `direct_inputs`.

        A job whose output collides with another one is skipped with a warning: a new file must not stop the other jobs.
        """
        selected, found = set(inputs), self._found(strict=False)
        jobs = self._jobs(found)
        # Of several jobs with the same output, one that was planned earlier keeps it, then the selected inputs come. Files that
        # are not selected may still be incomplete, so they come last.
        by_age = sorted(jobs, key=lambda job: 0 if job.input in self._planned else 1 if job.input in selected else 2)
        collisions = dict(_collisions(by_age, _folders(found)))
        wanted = [job for job in jobs if job.input in selected]
        for job in wanted:
            if job in collisions:
                log.warning("%s; skipping %s", collisions[job], job.input)
        planned = [job for job in wanted if job not in collisions]
        self._planned |= {job.input for job in planned}
        return planned

    def _found(self, strict: bool) -> list[FoundInput]:
        """Every input once. `strict`: raise `InputError` for a folder without inputs."""
        unique: dict[str, FoundInput] = {}
        labels = {label_of(style) for style in (*self._styles, *all_styles())}
        for name in self._inputs:
            found = self._search(name, labels, strict) if name in self.folders else [FoundInput(name, explicit=True)]
            for one in found:
                unique.setdefault(_key(one.input), one)
        # With a template, outputs of an earlier run can only be recognized by their path, which is that of another input's
        # output: leave them out. An input that is its own output is kept, and an error is raised for it later.
        inputs_by_output: dict[str, set[str]] = {}
        for job in self._jobs(unique.values()):
            inputs_by_output.setdefault(_key(str(job.output)), set()).add(job.input)
        return [one for key, one in unique.items() if one.explicit or one.input in inputs_by_output.get(key, {one.input})]

    def _search(self, folder: str, labels: Collection[str], strict: bool) -> list[FoundInput]:
        try:
            search = find_inputs(folder, self._selection, labels, self._output_paths.folder, self._warn_unreadable)
        except OSError as error:
            if strict:
                raise InputError(f"expected a readable folder, got {folder} ({reason(error)})") from None
            self._warn_unreadable(folder, error)
            return []
        if strict and not search.files:
            raise InputError(_no_inputs(folder, search))
        return search.files

    def _warn_unreadable(self, folder: str, error: OSError) -> None:
        """Once per folder: a folder may be searched many times."""
        if folder not in self.unreadable:
            self.unreadable.add(folder)
            log.warning("could not read the folder %s (%s); skipping its files", folder, reason(error))

    def _jobs(self, found: Collection[FoundInput]) -> list[Job]:
        path = self._output_paths.path
        return [Job(one.input, path(one.input, one.folder, label_of(style)), style) for one in found for style in self._styles]


def read_list(name: str) -> list[str]:
    """The inputs listed in a text file, `-` for stdin: one per line; blank lines and lines that begin with `#` are ignored.

    The text is UTF-8; other bytes are kept as they are, because file names may contain them. Raises `InputError`.
    """
    try:
        stdin = sys.stdin.buffer if sys.stdin else BytesIO()  # None if it is closed
        data = stdin.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"expected a readable list of inputs, got {name} ({reason(error)})") from None
    lines = [line.removesuffix("\r") for line in data.decode("utf-8-sig", "surrogateescape").split("\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _check_exist(inputs: Sequence[str]) -> None:
    missing = [name for name in dict.fromkeys(inputs) if not is_url(name) and not os.path.lexists(name)]
    if missing:
        named, more = ", ".join(missing[:_MAX_LISTED]), len(missing) - _MAX_LISTED
        and_more = f" and {more} more" if more > 0 else ""
        raise InputError(f"no such file or folder: {named}{and_more}")


def _no_inputs(folder: str, search: SearchResult) -> str:
    """The message that a folder contains no inputs, and why."""
    besides = []
    if search.excluded:
        besides.append(f"{search.excluded} excluded by --include or --exclude")
    if search.outputs:
        besides.append(f"{search.outputs} stylized by an earlier run")
    text = f"expected a folder with videos or images, found none in {folder}"
    text += f" besides {' and '.join(besides)}" if besides else ""
    return text + ("; use --recursive to search its subfolders" if search.subfolders else "")


def _is_folder(name: str) -> bool:
    return not is_url(name) and os.path.isdir(name)


def _key(name: str) -> str:
    """A key that is equal for two paths to the same file."""
    return name if is_url(name) else resolved(name)


def _folders(found: Collection[FoundInput]) -> dict[str, str]:
    return {one.input: one.folder for one in found}


def _collisions(jobs: Sequence[Job], folders: Mapping[str, str]) -> Iterator[tuple[Job, VidstyleError]]:
    """The jobs whose output path is that of an input or of an earlier job's output, with the error for each.

    `folders`: the subfolder in which each input was found.
    """
    inputs: dict[object, str] = {}
    for job in jobs:
        for identity in _identities(job.input):
            inputs.setdefault(identity, job.input)
    job_by_output: dict[str, Job] = {}
    for job in jobs:
        of_input = next((inputs[identity] for identity in _identities(str(job.output)) if identity in inputs), None)
        key = _key(str(job.output))
        if of_input == job.input:
            yield job, OutputExistsError(f"the output is the input itself: {job.output}; choose another name with -o")
        elif of_input is not None:
            remedy = "choose another name with -o, such as {stem}.{style}{ext}"
            yield job, UsageError(f"the output of {job.input} would replace {job.output}, which is also an input; {remedy}")
        elif key in job_by_output:
            yield job, _same_output(job_by_output[key], job, folders)
        else:
            job_by_output[key] = job


def _identities(name: str) -> list[object]:
    """Values that identify a file: its resolved path and, where available, its inode, which hard links share."""
    if is_url(name):
        return [name]
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return [_key(name)]
    return [_key(name), (status.st_dev, status.st_ino)] if status.st_ino else [_key(name)]  # 0: a file system without inodes


def _same_output(first: Job, second: Job, folders: Mapping[str, str]) -> UsageError:
    """The error for two jobs with one output; suggests a template field in which they differ, if there is one."""
    both = f"{first.input} and {second.input}"
    remedy = "run vidstyle once for each, with different -o"
    with_field = "add {} to -o to distinguish them".format
    if first.input == second.input:
        both = f"{first.input} in the styles {first.style} and {second.style}"
        if label_of(first.style) != label_of(second.style):
            remedy = with_field("{style}")
    elif Path(first.input).name != Path(second.input).name:
        remedy = with_field("{name}")
    elif folders[first.input] != folders[second.input]:
        remedy = with_field("{folder}/")
    return UsageError(f"{both} would both be written to {second.output}; {remedy}")
