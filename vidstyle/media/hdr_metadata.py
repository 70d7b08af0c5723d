"""The peak luminance of an HDR video, from the metadata of its frames."""

from __future__ import annotations

import struct
from typing import Any, cast

from av.video.frame import VideoFrame

PEAKS = (100.0, 10_000.0)
"""cd/m2: a peak outside this range is a mistake in the file; PQ ends at the upper limit."""


def peak_nits(frame: VideoFrame) -> float | None:
    """The peak luminance of a PQ video in cd/m2: its maximum content light level, else the peak of the mastering display.

    None if neither is known or plausible.
    """
    data = frame.side_data
    light, mastering = data.get("CONTENT_LIGHT_LEVEL"), data.get("MASTERING_DISPLAY_METADATA")
    found = []
    if light is not None:
        found.append(_maximum_content_light(bytes(cast(Any, light))))
    if mastering is not None:
        found.append(_maximum_luminance(bytes(cast(Any, mastering))))
    return next((peak for peak in found if PEAKS[0] <= peak <= PEAKS[1]), None)


def _maximum_content_light(data: bytes) -> float:
    """MaxCLL of an `AVContentLightMetadata`, which holds MaxCLL and MaxFALL."""
    return float(struct.unpack_from("I", data)[0]) if len(data) >= 4 else 0.0


def _maximum_luminance(data: bytes) -> float:
    """max_luminance of an `AVMasteringDisplayMetadata`: eight fractions of chromaticities, minimum and maximum luminance, then
    has_primaries and has_luminance."""
    if len(data) < 88:
        return 0.0
    numerator, denominator, _, has_luminance = struct.unpack_from("4i", data, 72)
    return numerator / denominator if has_luminance and denominator else 0.0
