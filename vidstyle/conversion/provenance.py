"""What an output was made from, told by the output itself: so finished work is known again, and work done otherwise is told."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from vidstyle import __version__
from vidstyle.core.errors import InputError, VidstyleError
from vidstyle.core.files import check_regular_file, is_url, reason
from vidstyle.core.options import ConvertOptions
from vidstyle.styles.catalog import find_style, sha256
from vidstyle.styles.spec import parse_style

# Whatever these are, the output is as good.
_IRRELEVANT = {
    "style.style",  # only a name: the model's content stands for it
    "mask",  # so it does for this one
    "style.device",
    "style.backend",
    "batch_size",
    "report",
    "resume",
    "overwrite",
    "skip_existing",
    "allow_network",
}

_SAMPLE_BYTES = 2**20

_STAMP = re.compile(r"vidstyle \S+ \(fingerprint ([0-9a-f]{32})\)")


def fingerprint(input: str, options: ConvertOptions) -> str | None:
    """32 hexadecimal digits that stand for the input `input`, the model, and all options that images or streams depend on.

    The input counts by its size and samples of its content, not by its name or date: a video that was moved or copied is the
    same video. Where and how fast it is stylized does not count, nor does the version of vidstyle, nor an option that was left
    as it is by default: a video that is finished stays finished when vidstyle is updated, or an option is added to it.
    None for a URL, whose content is not known before. Raises `InputError`, and `StyleError` where there is no such style.
    """
    if is_url(input):
        return None
    size, digest = sampled(Path(input))
    made_from = {
        "input": {"bytes": size, "sampled": digest},
        "model": model_of(options.style.style),
        "options": _chosen(options),
    }
    if options.mask is not None:
        made_from["mask"] = sampled(Path(options.mask))
    # Numbers that are equal are to read equal: 5 and 5.0 seconds are.
    canonical = json.loads(json.dumps(made_from, default=str), parse_int=float)
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:32]


def model_of(style: str) -> Any:
    """What stands for the content of all models of a style, a blend or a timeline. Raises `StyleError` for one there is not."""
    changes = [
        (change.seconds, [(_model_digest(find_style(name)), share) for name, share in change.blend])
        for change in parse_style(style)
    ]
    first = changes[0][1]
    return changes if len(changes) > 1 or len(first) > 1 else first[0][0]


def sampled(path: Path) -> tuple[int, str]:
    """Size and digest of a file: a digest of all of it, or where that would take long, of its first, middle and last part."""
    check_regular_file(path)
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        last = size - _SAMPLE_BYTES
        starts = [0, last // 2, last] if size > 3 * _SAMPLE_BYTES else range(0, size, _SAMPLE_BYTES)
        with path.open("rb") as file:
            for start in starts:
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise InputError(f"expected a video or image, could not read {path} ({reason(error)})") from error
    return size, digest.hexdigest()


def _model_digest(path: Path) -> str:
    status = path.stat()
    return _cached_digest(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _cached_digest(path: Path, modified_ns: int, size: int) -> str:
    """Once for all files of a folder: a model can be large."""
    return sha256(path)


def _chosen(options: ConvertOptions) -> dict[str, Any]:
    """Full name -> value of each option that matters and was not left at its default."""
    given, default = _flat(asdict(options)), _flat(asdict(ConvertOptions()))
    return {k: v for k, v in given.items() if k not in _IRRELEVANT and not (k in default and default[k] == v)}


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def stamp(fingerprint: str) -> str:
    """The text that stands in an output: what made it, and from what."""
    return f"vidstyle {__version__} (fingerprint {fingerprint})"


def can_hold_stamp(path: Path) -> bool:
    """Whether an output of this name has a place for the stamp."""
    from vidstyle.sinks.images import STAMPED_SUFFIXES
    from vidstyle.sinks.video import FORMATS

    suffix = path.suffix.lower()
    return suffix in STAMPED_SUFFIXES or (suffix in FORMATS and suffix != ".gif")


def read_fingerprint(path: Path) -> str | None:
    """The fingerprint that the video or image `path` tells; None where it tells none, or cannot be read."""
    from vidstyle.sinks.images import STAMPED_SUFFIXES
    from vidstyle.sinks.video import FORMATS

    suffix = path.suffix.lower()
    try:
        if suffix in STAMPED_SUFFIXES:
            found = _STAMP.search(_told_by_image(path))
        else:
            found = _STAMP.search(_told_by_video(path)) if suffix in FORMATS else None
    except (VidstyleError, OSError):
        return None
    return found[1] if found else None


def _told_by_image(path: Path) -> str:
    """Its EXIF, as text. OpenCV does not give it without pixels: those of a JPEG at an eighth of its size, then."""
    import cv2
    import numpy as np

    check_regular_file(path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it may be no image at all
    try:
        _, kinds, chunks = cv2.imdecodeWithMetadata(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:  # too large for OpenCV's limit, say
        return ""
    exif = [chunk for kind, chunk in zip(kinds, chunks, strict=True) if kind == cv2.IMAGE_METADATA_EXIF]
    return "".join(chunk.tobytes().decode("latin-1") for chunk in exif)


def _told_by_video(path: Path) -> str:
    """Its tags in which a stamp can stand (`sinks.video` puts it there)."""
    from vidstyle.media.container import open_media
    from vidstyle.sinks.stream_copy import STAMP_TAG

    with open_media(str(path), options={"export_xmp": "1"}) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return "\n".join(tags.get(key, "") for key in (STAMP_TAG.lower(), "encoder", "xmp"))
