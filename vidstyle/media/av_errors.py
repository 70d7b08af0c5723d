"""The exceptions that PyAV raises, by cause. PyAV raises some of FFmpeg's errors as built-in exceptions of Python."""

from __future__ import annotations

import av.error

AV_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in av.error.FFmpegError.__subclasses__() if not issubclass(kind, MemoryError)),
    *(OSError, ValueError),
)
"""Opening, writing, encoding or decoding failed, for another reason than a lack of memory, which says nothing about a file."""

DAMAGE_ERRORS: tuple[type[Exception], ...] = (*AV_ERRORS, IndexError)
"""A file is damaged, or not media at all."""

HARDWARE_ERRORS: tuple[type[Exception], ...] = (*AV_ERRORS, RuntimeError, NotImplementedError)
"""A hardware decoder cannot be opened or does not support the video."""

DAMAGED_PACKET_ERRORS = (av.error.InvalidDataError, av.error.ArgumentError)
"""A muxer refused a packet because it is damaged."""

NO_OUTPUT_YET = (av.error.BlockingIOError, av.error.EOFError)
"""Not failures: a filter needs more input before its next frame, or has no more frames."""
