"""Inputs -> jobs: what is stylized, in which style, and where it goes; all of it decided before the work begins."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from vidstyle.batch.output_paths import Naming
from vidstyle.conversion.job import Job
from vidstyle.core.errors import InputError, OutputExistsError, UsageError, VidstyleError
from vidstyle.core.files import is_url, reason
from vidstyle.core.options import Selection
from vidstyle.sources.discovery import Findings, Found, search
from vidstyle.styles.catalog import all_styles
from vidstyle.styles.spec import label_of

log = logging.getLogger(__name__)

_NAMED = 3
"""So many missing inputs are named in an error, the others counted."""


def plan(
    inputs: Sequence[str], styles: Sequence[str], output: str | None = None, selection: Selection = Selection()
) -> list[Job]:
    """The jobs for `inputs`, each a file, a folder or a URL: one for every input and style. See `Planner`."""
    return Planner(inputs, styles, output, selection).plan()


class Planner:
    """Plans jobs for `inputs`, each a file, a folder or a URL, stylized in every one of `styles`.

    For `output` see `naming.Naming`: a file will do where there is but one job. Of folders `selection` says what is taken. An
    input reached twice is taken once.

    Raises `InputError` for missing inputs, `UsageError` for none at all or an `output` that will not do.
    """

    def __init__(
        self, inputs: Sequence[str], styles: Sequence[str], output: str | None = None, selection: Selection = Selection()
    ) -> None:
        if not inputs:
            raise UsageError("expected a video, an image or a folder, got no input")
        _check_there(inputs)
        self._inputs, self._styles, self._selection = inputs, list(dict.fromkeys(styles)), selection
        self.folders = [name for name in inputs if _is_folder(name)]
        self.given = [name for name in inputs if not _is_folder(name)]
        """Files and URLs among the inputs."""
        several = bool(self.folders) or len({_key(name) for name in self.given}) * len(self._styles) > 1
        self._naming = Naming(output, several)
        self._unreadable: set[str] = set()
        self._planned: set[str] = set()

    def plan(self) -> list[Job]:
        """All jobs as things stand, in the order of the inputs, and for each in that of the styles.

        Raises `InputError` for a folder in which nothing is to be stylized, `UsageError` or `OutputExistsError` if an output is
        also an input or another's output.
        """
        found = self._found(strict=True)
        jobs = self._jobs(found)
        for _, error in _collisions(jobs, _folders(found)):
            raise error
        return jobs

    def find(self) -> list[str]:
        """The files in the folders that `plan` would take now; folders that are not to be read have none."""
        return [found.input for found in self._found(strict=False) if not found.given]

    def plan_for(self, inputs: Collection[str]) -> list[Job]:
        """Those jobs of `plan` whose inputs are `inputs`: files that `find` listed, or some of `given`.

        Those whose output is another's are left out, with a warning: what happens to arrive must not stop the others.
        """
        inputs, found = set(inputs), self._found(strict=False)
        jobs = self._jobs(found)
        # Who was there before keeps the name; who may still be arriving takes it from no one.
        by_age = sorted(jobs, key=lambda job: 0 if job.input in self._planned else 1 if job.input in inputs else 2)
        spoiled = dict(_collisions(by_age, _folders(found)))
        wanted = [job for job in jobs if job.input in inputs]
        for job in wanted:
            if job in spoiled:
                log.warning("%s; %s is left out", spoiled[job], job.input)
        planned = [job for job in wanted if job not in spoiled]
        self._planned |= {job.input for job in planned}
        return planned

    def _found(self, strict: bool) -> list[Found]:
        """Every input once. `strict`: raise `InputError` for a folder without any."""
        taken: dict[str, Found] = {}
        labels = {label_of(style) for style in (*self._styles, *all_styles())}
        for name in self._inputs:
            found = self._search(name, labels, strict) if name in self.folders else [Found(name, given=True)]
            for one in found:
                taken.setdefault(_key(one.input), one)
        # Outputs of an earlier run that a template named: they are where this run's outputs of others will be. What is its own
        # output stays, to be refused.
        makers: dict[str, set[str]] = {}
        for job in self._jobs(taken.values()):
            makers.setdefault(_key(str(job.output)), set()).add(job.input)
        return [one for key, one in taken.items() if one.given or key not in makers or one.input in makers[key]]

    def _search(self, folder: str, labels: Collection[str], strict: bool) -> list[Found]:
        try:
            findings = search(folder, self._selection, labels, self._naming.folder, self._tell_unreadable)
        except OSError as error:
            if strict:
                raise InputError(f"expected a folder that can be read, got {folder} ({reason(error)})") from None
            self._tell_unreadable(folder, error)
            return []
        if strict and not findings.files:
            raise InputError(_nothing(folder, findings))
        return findings.files

    def _tell_unreadable(self, folder: str, error: OSError) -> None:
        """Once each: folders may be searched many times."""
        if folder not in self._unreadable:
            self._unreadable.add(folder)
            log.warning("could not read the folder %s (%s); what is in it is left out", folder, reason(error))

    def _jobs(self, found: Collection[Found]) -> list[Job]:
        path = self._naming.path
        return [Job(one.input, path(one.input, one.folder, label_of(style)), style) for one in found for style in self._styles]


def read_list(name: str) -> list[str]:
    """The inputs in a text file, `-` for stdin: one a line, but for blank lines and those that begin with `#`.

    The text is UTF-8; bytes that are not stay as they are, for names of files may have them. Raises `InputError`.
    """
    try:
        stdin = sys.stdin.buffer if sys.stdin else BytesIO()  # None where it was closed
        data = stdin.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"expected a list of inputs that can be read, got {name} ({reason(error)})") from None
    lines = [line.removesuffix("\r") for line in data.decode("utf-8-sig", "surrogateescape").split("\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _check_there(inputs: Sequence[str]) -> None:
    missing = [name for name in dict.fromkeys(inputs) if not is_url(name) and not os.path.lexists(name)]
    if missing:
        named, more = ", ".join(missing[:_NAMED]), len(missing) - _NAMED
        and_more = f" and {more} more" if more > 0 else ""
        raise InputError(f"expected a video, image or folder, found nothing: {named}{and_more}")


def _nothing(folder: str, findings: Findings) -> str:
    """Says that there is nothing to paint in a folder, and why."""
    besides = []
    if findings.unwanted:
        besides.append(f"{findings.unwanted} that --include or --exclude leave out")
    if findings.outputs:
        besides.append(f"{findings.outputs} stylized by an earlier run")
    text = f"expected a folder with videos or images, found none in {folder}"
    text += f" besides {' and '.join(besides)}" if besides else ""
    return text + ("; --recursive looks into its subfolders" if findings.subfolders else "")


def _is_folder(name: str) -> bool:
    return not is_url(name) and Path(name).is_dir()


def _key(name: str) -> str:
    """The same for two paths if they lead to the same file."""
    return name if is_url(name) else os.path.normcase(os.path.realpath(name))


def _folders(found: Collection[Found]) -> dict[str, str]:
    return {one.input: one.folder for one in found}


def _collisions(jobs: Sequence[Job], folders: Mapping[str, str]) -> Iterator[tuple[Job, VidstyleError]]:
    """The jobs that would write where an input is, or where a job before them writes, and the error for each.

    `folders`: the subfolder in which each input was found.
    """
    inputs: dict[object, str] = {}
    for job in jobs:
        for identity in _identities(job.input):
            inputs.setdefault(identity, job.input)
    taken: dict[str, Job] = {}
    for job in jobs:
        of_input = next((inputs[identity] for identity in _identities(str(job.output)) if identity in inputs), None)
        key = _key(str(job.output))
        if of_input == job.input:
            yield job, OutputExistsError(f"the output is the input itself: {job.output}; choose another name with -o")
        elif of_input is not None:
            way = "choose another name with -o, such as {stem}.{style}{ext}"
            yield job, UsageError(f"the painting of {job.input} would replace {job.output}, which is an input too; {way}")
        elif key in taken:
            yield job, _same_output(taken[key], job, folders)
        else:
            taken[key] = job


def _identities(name: str) -> list[object]:
    """By which a file is known: its resolved path, and where there is one its number on the disk, which hard links share."""
    if is_url(name):
        return [name]
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return [_key(name)]
    return [_key(name), (status.st_dev, status.st_ino)] if status.st_ino else [_key(name)]  # 0: a disk without numbers


def _same_output(first: Job, second: Job, folders: Mapping[str, str]) -> UsageError:
    """Names a field that is not the same for the two, if there is one."""
    who = f"{first.input} and {second.input}"
    way = "paint them one after the other, each with an -o of its own"
    told_apart = "put {} into -o to tell them apart".format
    if first.input == second.input:
        who = f"{first.input} in the styles {first.style} and {second.style}"
        if label_of(first.style) != label_of(second.style):
            way = told_apart("{style}")
    elif Path(first.input).name != Path(second.input).name:
        way = told_apart("{name}")
    elif folders[first.input] != folders[second.input]:
        way = told_apart("{folder}/")
    return UsageError(f"{who} would both be written to {second.output}; {way}")
