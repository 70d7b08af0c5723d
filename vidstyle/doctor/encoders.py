"""The encoders of `vidstyle.sinks.encoder_table`, tried: a few frames are written with each, and read back."""

from __future__ import annotations

import numpy as np

from vidstyle.api.video_io import write_video
from vidstyle.core.errors import VidstyleError
from vidstyle.core.hardware import has_nvidia
from vidstyle.core.temporary_folder import TemporaryFolder
from vidstyle.doctor.checks import Check
from vidstyle.sinks.encoder_table import ENCODERS, VideoEncoder

_SIZE, _FRAMES = 256, 4  # hardware refuses much smaller images
_FAMILIES = {"nvenc": "NVENC", "videotoolbox": "VideoToolbox", "qsv": "QuickSync", "amf": "AMF"}
_NVENC_ADVICE = "update the NVIDIA driver; data centre GPUs such as A100 and H100 have no encoder"


def software() -> list[Check]:
    """A row for each software encoder: the pixel formats that it encodes."""
    rows = []
    for name in dict.fromkeys(row.name for row in ENCODERS if not row.hardware):
        tried = {form: _error(row, form) for row in ENCODERS if row.name == name for form in row.formats}
        working = [form for form, why in tried.items() if why is None]
        if working:
            rows.append(Check(f"encoder {name}", "ok", _list(working, [form for form in tried if form not in working])))
        else:
            why = next(iter(tried.values()))
            rows.append(Check(f"encoder {name}", "note", str(why), "pip install --force-reinstall av"))
    return rows


def hardware() -> list[Check]:
    """A row for each kind of hardware: the codecs that it encodes here."""
    rows = []
    for family, title in _FAMILIES.items():
        encoders = [row for row in ENCODERS if row.hardware and row.name.endswith(f"_{family}")]
        tried = {f"{row.codec} {form}": _error(row, form) for row in encoders for form in row.formats}
        working = [what for what, why in tried.items() if why is None]
        if working:
            rows.append(Check(f"encoder {title}", "ok", _list(working, [what for what in tried if what not in working])))
        else:
            names = ", ".join(row.name for row in encoders)
            advice = _NVENC_ADVICE if family == "nvenc" and has_nvidia() else None
            rows.append(Check(f"encoder {title}", "note", f"none works here (tried {names})", advice))
    return rows


def _list(working: list[str], others: list[str]) -> str:
    return ", ".join(working) + (f"; not {', '.join(others)}" if others else "")


def _error(encoder: VideoEncoder, pix_fmt: str) -> str | None:
    """Why the encoder does not work here; None if it does."""
    frames = [np.full((_SIZE, _SIZE, 3), 255 * index // _FRAMES, np.uint8) for index in range(_FRAMES)]
    with TemporaryFolder() as folder:
        output = folder / f"tried{encoder.suffixes[0]}"
        try:
            write_video(output, frames, frame_rate=25, codec=encoder.name, pix_fmt=pix_fmt, hardware=encoder.hardware)
        except VidstyleError as error:
            return str(error)
    return None
