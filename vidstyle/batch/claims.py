"""Claims on jobs: finished outputs are skipped, and so are jobs that another run has claimed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import filelock

from vidstyle.conversion import provenance
from vidstyle.conversion.convert import files_read, input_files
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.errors import DiskError, OutputExistsError, expected
from vidstyle.core.file_identity import FileIdentity
from vidstyle.core.files import beside, reason, writing
from vidstyle.core.options import ConvertOptions
from vidstyle.sinks import check_not_read, remove_leftovers

FINISHED = "is finished already"

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class Claim:
    """A hidden lock file beside an output: of several runs on one folder, only the one that holds the lock makes the output."""

    def __init__(self, output: Path) -> None:
        self._path = claim_path(output)
        # A job may be closed by another thread than the one that opened it.
        self._lock = filelock.FileLock(self._path, thread_local=False)
        self.acquired = True
        """Whether this run holds the lock."""
        with writing(output):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                self.acquired = False
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                # Without locks, several runs may make the same output; still, none replaces the output of another.
                self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock. Closing twice is harmless."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # on Windows an open file cannot be removed
                self._path.unlink(missing_ok=True)
            self._lock.release()


def claim_path(output: Path) -> Path:
    """The lock file that shows that a run is working on `output`."""
    path = beside(output, ".", ".claim")
    if _belongs_to_user(path):
        return output.with_name(f".{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:32]}.claim")
    return path


def _belongs_to_user(path: Path) -> bool:
    """Whether a file that is no claim has the name of one: claims are empty. It must be neither locked nor removed."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return not stat.S_ISREG(status.st_mode) or status.st_size > 0


@dataclass(frozen=True)
class ClaimedJob:
    """A job to be done by this run, with the options of its style and the fingerprint of its output. To be closed when done.

    `files` are those that the fingerprint was taken of, see `conversion.convert.input_files`.
    """

    job: Job
    options: ConvertOptions
    fingerprint: str | None
    files: Sequence[FileIdentity] = ()
    claim: Claim | None = None

    def close(self) -> None:
        """Release the claim on the output."""
        if self.claim is not None:
            self.claim.close()


def claim_job(job: Job, options: ConvertOptions, shared: bool) -> ClaimedJob | JobResult | None:
    """Claim a job if it is to be done now. Returns its result if there is nothing to do, None if another run has claimed it.

    `shared`: whether other runs may be working on the same jobs.
    """
    options = _with_style_of(job, options)
    claim: Claim | None = None
    fingerprint: str | None = None
    try:
        files = input_files(job.input, options)
        fingerprint, job_result = _check(job, options)
        # A claim beside a finished output belongs to a run that is about to release it, or that was killed at that moment.
        if shared and (job_result is None or os.path.lexists(claim_path(job.output))):
            _make_folder(job.output.parent)
            claim = Claim(job.output)
            if not claim.acquired:
                return None
            job_result = _existing_output_result(job, options, fingerprint)  # another run may just have finished it
        elif job_result is None:
            _make_folder(job.output.parent)
    except Exception as error:
        job_result = JobResult(job, error=expected(error))
    if job_result is not None:
        if job_result.skipped == FINISHED:
            remove_leftovers(job.output, fingerprint)
        if claim is not None:
            claim.close()
        return job_result
    return ClaimedJob(job, options, fingerprint, files, claim)


def settled_result(job: Job, options: ConvertOptions) -> JobResult | None:
    """The result of a job for which there is nothing to do at present; None if there is. Claims nothing."""
    try:
        return _check(job, _with_style_of(job, options))[1]
    except Exception as error:
        return JobResult(job, error=expected(error))


def _with_style_of(job: Job, options: ConvertOptions) -> ConvertOptions:
    return replace(options, style=replace(options.style, style=job.style))


def _check(job: Job, options: ConvertOptions) -> tuple[str | None, JobResult | None]:
    """The fingerprint of the output, and the result if there is nothing to do."""
    with writing(job.output):  # the name may be too long
        check_not_read(job.output, files_read(job.input, options))
        fingerprint = provenance.fingerprint(job.input, options)
        return fingerprint, _existing_output_result(job, options, fingerprint)


def _existing_output_result(job: Job, options: ConvertOptions, fingerprint: str | None) -> JobResult | None:
    """The result if the output exists already and is to stay: skipped or an error."""
    if options.overwrite or not os.path.lexists(job.output) or os.path.isdir(job.output):
        return None
    if options.skip_existing:
        return JobResult(job, skipped="already exists")
    if not provenance.can_hold_stamp(job.output):  # otherwise every later run would report an error
        kind = job.output.suffix.lower()
        return JobResult(job, skipped=f"already exists ({kind} files cannot record what they were made from)")
    made_from = provenance.read_fingerprint(job.output)
    if made_from is not None and made_from == fingerprint:
        return JobResult(job, skipped=FINISHED)
    if made_from is None:
        why = "it does not record what it was made from"
    else:
        why = "it was made from another input or with other options"
    remedies = "use --overwrite to replace it, --skip-existing to keep it, or -o to choose another name"
    return JobResult(job, error=OutputExistsError(f"{job.output} already exists, and {why}; {remedies}"))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputExistsError(f"the folder of the output is a file: {folder}") from None
    except (OSError, ValueError) as error:
        raise DiskError(f"could not create the folder {folder} ({reason(error)})") from error
