"""The exceptions that PyAV raises, by cause. PyAV raises some of FFmpeg's errors as built-in exceptions of Python."""

from __future__ import annotations

import av.error

AV_ERRORS = (av.error.FFmpegError, OSError, ValueError)
"""Opening, writing, encoding or decoding failed."""

DAMAGE_ERRORS = (*AV_ERRORS, IndexError)
"""A file is damaged, or not media at all."""

HARDWARE_ERRORS = (*AV_ERRORS, RuntimeError, NotImplementedError)
"""A hardware decoder cannot be opened or does not support the video."""

DAMAGED_PACKET_ERRORS = (av.error.InvalidDataError, av.error.ArgumentError)
"""A muxer refused a packet because it is damaged."""

NO_OUTPUT_YET = (av.error.BlockingIOError, av.error.EOFError)
"""Not failures: a filter needs more input before its next frame, or has no more frames."""
