"""The fingerprint of what an output was made from, stored in the output itself.

By it a later run recognizes finished outputs, and those that were made from another input or with other options.
"""

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

# These options do not change the output.
_IRRELEVANT = {
    "style.style",  # a name; the content of the model counts instead
    "mask",  # a path; the content of the file counts instead
    "style.device",
    "style.backend",
    "batch_size",
    "memory",
    "report",
    "resume",
    "overwrite",
    "skip_existing",
    "allow_network",
}

_SAMPLE_BYTES = 2**20

_STAMP = re.compile(r"vidstyle \S+ \(fingerprint ([0-9a-f]{32})\)")


def fingerprint(input: str, options: ConvertOptions) -> str | None:
    """32 hexadecimal digits: a hash of the input, the model, and all options that the images or streams depend on.

    The input is identified by its size and samples of its content, not by its name or date: a video that was moved or copied is
    the same video. Device and speed do not count, nor does the version of vidstyle or an option left at its default: a finished
    output stays finished when vidstyle is updated or gets a new option. None for a URL, whose content is not known in advance.
    Raises `InputError`, and `StyleError` for an unknown style.
    """
    if is_url(input):
        return None
    size, digest = sample_digest(Path(input))
    made_from = {
        "input": {"bytes": size, "sampled": digest},
        "model": model_digests(options.style.style),
        "options": _relevant_options(options),
    }
    if options.mask is not None:
        made_from["mask"] = sample_digest(Path(options.mask))
    # Equal numbers must have equal digits: 5 and 5.0 seconds.
    canonical = json.loads(json.dumps(made_from, default=str), parse_int=float)
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:32]


def model_digests(style: str) -> Any:
    """Digests of all models of a style, blend or timeline, with weights and times. Raises `StyleError` for an unknown style."""
    changes = [
        (change.seconds, [(_model_digest(find_style(name)), weight) for name, weight in change.blend])
        for change in parse_style(style)
    ]
    first = changes[0][1]
    return changes if len(changes) > 1 or len(first) > 1 else first[0][0]


def sample_digest(path: Path) -> tuple[int, str]:
    """Size and digest of a file; of a large file the digest covers only its beginning, middle and end. Raises `InputError`."""
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
        raise InputError(f"could not read {path} as a video or image ({reason(error)})") from error
    return size, digest.hexdigest()


def _model_digest(path: Path) -> str:
    status = path.stat()
    return _cached_digest(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _cached_digest(path: Path, modified_ns: int, size: int) -> str:
    """Cached, because models can be large and a run may convert many files."""
    return sha256(path)


def _relevant_options(options: ConvertOptions) -> dict[str, Any]:
    """The full names and values of the relevant options that differ from their defaults."""
    values, default = _flat(asdict(options)), _flat(asdict(ConvertOptions()))
    return {k: v for k, v in values.items() if k not in _IRRELEVANT and not (k in default and default[k] == v)}


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def stamp(fingerprint: str) -> str:
    """The text stored in an output: the version of vidstyle and the fingerprint."""
    return f"vidstyle {__version__} (fingerprint {fingerprint})"


def can_hold_stamp(path: Path) -> bool:
    """Whether the format of an output can store the stamp."""
    from vidstyle.sinks.images import STAMPED_SUFFIXES
    from vidstyle.sinks.video import FORMATS

    suffix = path.suffix.lower()
    return suffix in STAMPED_SUFFIXES or (suffix in FORMATS and suffix != ".gif")


def read_fingerprint(path: Path) -> str | None:
    """The fingerprint stored in the video or image `path`; None if there is none or the file cannot be read."""
    from vidstyle.sinks.images import STAMPED_SUFFIXES
    from vidstyle.sinks.video import FORMATS

    suffix = path.suffix.lower()
    try:
        if suffix in STAMPED_SUFFIXES:
            found = _STAMP.search(_image_tags(path))
        else:
            found = _STAMP.search(_video_tags(path)) if suffix in FORMATS else None
    except (VidstyleError, OSError):
        return None
    return found[1] if found else None


def _image_tags(path: Path) -> str:
    """The EXIF data as text. OpenCV reads them only together with the pixels: a JPEG is decoded at an eighth of its size."""
    import cv2
    import numpy as np

    check_regular_file(path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it may not be an image
    try:
        _, kinds, chunks = cv2.imdecodeWithMetadata(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:  # for example larger than OpenCV's limit
        return ""
    exif = [chunk for kind, chunk in zip(kinds, chunks, strict=True) if kind == cv2.IMAGE_METADATA_EXIF]
    return "".join(chunk.tobytes().decode("latin-1") for chunk in exif)


def _video_tags(path: Path) -> str:
    """The tags that can hold a stamp (written by `sinks.video`)."""
    from vidstyle.media.container import open_media
    from vidstyle.sinks.stream_copy import STAMP_TAG

    with open_media(str(path), options={"export_xmp": "1"}) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return "\n".join(tags.get(key, "") for key in (STAMP_TAG.lower(), "encoder", "xmp"))
