"""Whether a model stylizes. Files that are not known are tried in another process first, with limits of time and memory.

Models are programs: one may compute for days, take all memory, or crash the engine, and ONNX Runtime and torch were not made for
hostile ones. A process of its own turns all of this into one sentence. Run as a program, this module is that process.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

import vidstyle
from vidstyle.core.child_process import kill, limit_this_process, start_module
from vidstyle.core.errors import (
    EXIT_DONE,
    EXIT_MODEL,
    MemoryLimitError,
    MissingExtraError,
    StyleError,
    VidstyleError,
    is_out_of_memory,
)
from vidstyle.core.files import reason
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.user_cache import remember, remembered
from vidstyle.styles import catalog
from vidstyle.stylizers import load_network
from vidstyle.stylizers.blend_networks import networks_of

MAX_SECONDS = 120
"""Of processor time. Most models take milliseconds, but a network of a large fixed size takes minutes on a slow processor."""
MAX_WALL_SECONDS = 300.0
"""On a busy machine, and where processor time cannot be limited."""
MAX_MEMORY = 4 << 30
"""Bytes, those of the engine included."""

_NEEDS_TORCH = 100
"""The exit code of the process where torch is not installed."""

_TOO_SLOW = (None, None if sys.platform == "win32" else -signal.SIGXCPU)
"""Exit codes of a process that was stopped, here or by its limit."""

_FILE = "models.json"
"""In the user's cache folder: the digests of the files that were verified."""


def verify_before_use(path: Path, check: Callable[[], None] = lambda: None) -> None:
    """Raise what `verify_isolated` raises, unless the file `path` belongs to a style in a catalogue or was verified before."""
    try:
        digest = catalog.sha256(path)
    except OSError as error:
        raise StyleError(f"could not read the style model {path} ({reason(error)})") from error
    if any(facts.get("sha256") == digest for _, facts in catalog.all_styles().values()):
        return
    key = f"{digest}, vidstyle {vidstyle.__version__}"
    if remembered(_FILE, key) is None:
        verify_isolated(path, check)
        remember(_FILE, key, "verified")


def verify_isolated(path: Path, check: Callable[[], None] = lambda: None) -> None:
    """Like `verify_model`, in another process and with limits. `check` is called regularly, to interrupt."""
    with start_module(
        __name__,
        str(path),
        str(MAX_SECONDS),
        str(MAX_MEMORY),
        variables={"OMP_NUM_THREADS": "1"},  # each thread takes memory
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            code, answer = _awaited(process, check)
        finally:
            if process.poll() is None:
                kill(process)
    if code in _TOO_SLOW:
        raise StyleError(f"expected a model that stylizes a small image within {MAX_SECONDS} s, this one takes longer: {path}")
    if code == _NEEDS_TORCH:
        raise MissingExtraError("the torch backend", "torch")
    if code == EXIT_MODEL:
        raise StyleError(answer.decode("utf-8", "surrogateescape"))
    if code != EXIT_DONE:
        raise StyleError(f"expected a style model, but this file makes the engine crash: {path}")


def _awaited(process: subprocess.Popen[bytes], check: Callable[[], None]) -> tuple[int | None, bytes]:
    """The exit code of a process, None if it does not end, and its output."""
    end = time.monotonic() + MAX_WALL_SECONDS
    while time.monotonic() < end:
        check()
        with suppress(subprocess.TimeoutExpired):
            answer, _ = process.communicate(timeout=0.2)
            return process.returncode, answer
    return None, b""


def verify_model(path: Path) -> None:
    """Stylize a small image with a model, on the CPU; raises `StyleError` if that fails, `MemoryLimitError` or
    `MissingExtraError`."""
    try:
        _try_out(path)
    except StyleError as error:
        if str(path) in str(error):
            raise
        raise StyleError(f"{error}: {path}") from error
    except VidstyleError:
        raise
    except Exception as error:  # a model can make numpy, OpenCV and the engines fail in many ways
        if is_out_of_memory(error):
            raise MemoryLimitError(f"not enough memory to stylize a small image ({reason(error)}): {path}") from error
        raise StyleError(f"expected a style model, but this one fails ({reason(error)}): {path}") from error


def _try_out(path: Path) -> None:
    image = _test_image()
    [network] = networks_of([(path, 1.0)])
    stylizer = load_network(network, StyleOptions(device="cpu"), concurrency=1, cores=1)
    stylized = stylizer.for_shot([image]).stylize([image, image])
    if stylized.shape != (2, *image.shape) or stylized.dtype != np.uint8:
        raise StyleError(f"expected a stylized image {image.shape} uint8, got {stylized.shape[1:]} {stylized.dtype}")
    if (stylized == stylized[:, :1, :1]).all():
        raise StyleError("expected a stylized image, got a single colour")


def _test_image() -> Pixels:
    """Gradients and a chequerboard pattern, uint8 RGB (64, 80, 3)."""
    y, x = np.mgrid[:64, :80]
    return np.dstack([3 * x, 4 * y, 255 * ((x // 8 + y // 8) % 2)]).astype(np.uint8)


def main(path: str, seconds: int, memory: int) -> int:
    """Verify the file `path` within limits; prints what is wrong with it, and returns the exit code."""
    limit_this_process(seconds, memory)
    logging.disable(logging.WARNING)  # the process that uses the model logs them
    try:
        verify_model(Path(path))
    except MissingExtraError:
        return _NEEDS_TORCH
    except MemoryLimitError:
        problem = f"expected a model that stylizes a small image in {memory >> 20} MiB of memory, this one needs more: {path}"
    except VidstyleError as error:
        problem = str(error)
    else:
        return EXIT_DONE
    sys.stdout.buffer.write(problem.encode("utf-8", "surrogateescape"))
    return EXIT_MODEL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
