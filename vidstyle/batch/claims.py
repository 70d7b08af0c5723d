"""Whether a job is to be done at all: what is finished is skipped, and what another run is at is left to it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import filelock

from vidstyle.conversion import provenance
from vidstyle.conversion.convert import check_not_itself
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.errors import DiskError, OutputExistsError, VidstyleError
from vidstyle.core.files import writing
from vidstyle.core.options import ConvertOptions

FINISHED = "is finished already"

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}

_LONGEST_NAME = 255
"""Bytes; no usual file system allows more."""


class Claim:
    """A hidden, locked file beside an output: of several runs on one folder one has it, and makes the output."""

    def __init__(self, output: Path) -> None:
        self._path = claim_path(output)
        # Whoever opens a job need not be the thread that closes it.
        self._lock = filelock.FileLock(self._path, thread_local=False)
        self.taken = True
        """Whether it is ours."""
        with writing(output):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                self.taken = False
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                # On a file system without locks runs cannot tell of each other; outputs replace none all the same.
                self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another run have it. Harmless when closed twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # Windows, where an open file keeps its name
                self._path.unlink(missing_ok=True)
            self._lock.release()


def claim_path(output: Path) -> Path:
    """The file by which a run shows that it is at work on `output`."""
    name = f".{output.name}.claim"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:32]}.claim"
    return output.with_name(name)


@dataclass(frozen=True)
class Admitted:
    """A job that is to be done, with the options of its style and the fingerprint of its output; to be closed when it is."""

    job: Job
    options: ConvertOptions
    fingerprint: str | None
    claim: Claim | None = None

    def close(self) -> None:
        """Let other runs have the output."""
        if self.claim is not None:
            self.claim.close()


def admit(job: Job, options: ConvertOptions, shared: bool) -> Admitted | JobResult | None:
    """The job, if it is to be done now; its outcome, if there is nothing to do; None where another run is at work on it.

    `shared`: whether there may be another run that works off the same jobs.
    """
    options = _in_style(job, options)
    claim: Claim | None = None
    try:
        fingerprint, job_result = _looked_at(job, options)
        # Beside a finished output a claim is that of a run that is about to let go, or was killed then.
        if shared and (job_result is None or os.path.lexists(claim_path(job.output))):
            _make_folder(job.output.parent)
            claim = Claim(job.output)
            if not claim.taken:
                return None
            job_result = _settled(job, options, fingerprint)  # whoever had it may have finished it
        elif job_result is None:
            _make_folder(job.output.parent)
    except VidstyleError as error:
        job_result = JobResult(job, error=error)
    if job_result is not None:
        if claim is not None:
            claim.close()
        return job_result
    return Admitted(job, options, fingerprint, claim)


def foregone(job: Job, options: ConvertOptions) -> JobResult | None:
    """The outcome of a job, if there is nothing to do as things stand."""
    try:
        return _looked_at(job, _in_style(job, options))[1]
    except VidstyleError as error:
        return JobResult(job, error=error)


def _in_style(job: Job, options: ConvertOptions) -> ConvertOptions:
    return replace(options, style=replace(options.style, style=job.style))


def _looked_at(job: Job, options: ConvertOptions) -> tuple[str | None, JobResult | None]:
    """The fingerprint of the output, and the outcome, if there is nothing to do."""
    with writing(job.output):  # whose name may be too long
        check_not_itself(job.input, job.output)
        fingerprint = provenance.fingerprint(job.input, options)
        return fingerprint, _settled(job, options, fingerprint)


def _settled(job: Job, options: ConvertOptions, fingerprint: str | None) -> JobResult | None:
    """The outcome, where an output that is there decides it."""
    if options.overwrite or not os.path.lexists(job.output) or job.output.is_dir():
        return None
    if options.skip_existing:
        return JobResult(job, skipped="is there already")
    if not provenance.can_tell(job.output):  # then every later run would fail on it
        kind = job.output.suffix.lower()
        return JobResult(job, skipped=f"is there already ({kind} has no place to tell what it was made from)")
    made_from = provenance.read_fingerprint(job.output)
    if made_from is not None and made_from == fingerprint:
        return JobResult(job, skipped=FINISHED)
    why = "it does not tell what it was made from" if made_from is None else "it was made from another input or in another way"
    ways = "give --overwrite to replace it, --skip-existing to leave it, or another name with -o"
    return JobResult(job, error=OutputExistsError(f"{job.output} exists, and {why}; {ways}"))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputExistsError(f"expected a folder for the output, found a file: {folder}") from None
    except OSError as error:
        raise DiskError(f"could not make the folder {folder} ({error.strerror})") from error
