"""Reporters of `vidstyle live`: lines for people, or JSON for programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from vidstyle.cli.output import print_error, print_event, print_message

if TYPE_CHECKING:
    from vidstyle.core.errors import VidstyleError
    from vidstyle.live.metrics import Measurements
    from vidstyle.live.session import LiveProgress

JSON_VERSION = 1


class LiveLineReporter:
    """Prints lines on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def note(self, text: str) -> None:
        if not self._quiet:
            print_message(text)

    def error(self, error: VidstyleError) -> None:
        print_error(error)

    def first(self) -> None:
        """Print nothing: the image is visible."""

    def progress(self, progress: LiveProgress) -> None:
        """Print nothing: the progress is visible in the image."""

    def total(self, measurements: Measurements) -> None:
        if measurements.shown:
            self.note(
                f"{measurements.shown} images in {measurements.seconds:.0f} s, {measurements.fps:.1f} fps; "
                f"from capture to display {measurements.latency_median * 1000:.0f} ms, "
                f"99 of 100 within {measurements.latency_p99 * 1000:.0f} ms"
            )

    def close(self, code: int) -> None:
        """The run ends with this exit code."""


class LiveJsonReporter(LiveLineReporter):
    """Prints JSON events on stderr, one per line: note, first (frame), progress, total, error, exit."""

    def note(self, text: str) -> None:
        self._event("note", message=text)

    def error(self, error: VidstyleError) -> None:
        self._event("error", message=str(error))

    def first(self) -> None:
        self._event("first")

    def progress(self, progress: LiveProgress) -> None:
        facts = {"style": progress.style, "height": progress.height, "camera_fps": round(progress.rate, 2)}
        self._event("progress", **facts, **_known(progress.measurements))

    def total(self, measurements: Measurements) -> None:
        self._event("total", **_known(measurements))

    def close(self, code: int) -> None:
        self._event("exit", code=code)

    def _event(self, event: str, **facts: object) -> None:
        print_event({"v": JSON_VERSION, "event": event, **facts})


def _known(measurements: Measurements) -> dict[str, float | None]:
    """`measurements` for JSON, which has no nan."""
    return {"fps": round(measurements.fps, 2)} | {
        k: None if math.isnan(v) else round(v, 4) for k, v in asdict(measurements).items()
    }
