"""What an output is called and where it goes: beside its input, into a folder, or as a template says."""

from __future__ import annotations

import os
import string
from pathlib import Path

from vidstyle.conversion.output_name import DEFAULT_TEMPLATE, fields_of
from vidstyle.core.errors import UsageError
from vidstyle.core.files import is_url
from vidstyle.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

FIELDS = ("stem", "ext", "name", "style", "folder")
"""What may stand in braces in a template. For `day1/a.webm` of the folder `holiday`, in the style mosaic: `a`, `.mkv` (what the
output gets by default), `a.webm`, `mosaic` and `day1`."""

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class Naming:
    """Where outputs go, as `output` (`-o`) says: None, a file, a folder or a template with `FIELDS`.

    Without it, `in.mp4` becomes `in.STYLE.mp4` beside it. Into a folder outputs go under that name, in subfolders as the inputs'.
    A template names a file beside the input; one with a folder in it is relative to the current folder. `several`: there may be
    more than one output. Raises `UsageError` for a template that is none, and for a file where there may be several.
    """

    def __init__(self, output: str | None, several: bool) -> None:
        self._beside, self._root, self._parts = output is None, Path(), [DEFAULT_TEMPLATE]
        self.folder: Path | None = None
        """The folder that all outputs go into, as far as that is fixed."""
        if output is None:
            return
        self._root, template = _literal_part(output)
        fields = [_fields_in(part, output) for part in template]
        if any(fields):
            _check_template(template, fields, output)
            self._beside, self._parts = not os.path.dirname(output), template
            self.folder = None if self._root == Path() else self._root
            return
        for part in template:  # {{ and }} at most
            self._root /= part.format()
        if several or self._root.is_dir() or output.endswith(_SEPARATORS):
            _check_folder(self._root, output)
            self.folder, self._parts = self._root, ["{folder}", DEFAULT_TEMPLATE]
        else:
            self._parts = []

    def path(self, input: str, folder: str, label: str) -> Path:
        """Where the painting of `input` goes, which was found in the subfolder `folder` of an input, "" for none.

        Raises `UsageError` where a template gives no name, or where a field would lead out of the folder.
        """
        path = Path(input).parent if self._beside and not is_url(input) else self._root
        fields = fields_of(input, folder, label)
        for part in self._parts:
            text = part.format_map(fields)
            if part not in (text, "{folder}") and (text in ("", ".", "..") or any(mark in text for mark in _SEPARATORS)):
                raise UsageError(f"expected a name from {part} in -o, got '{text}' for {input}; give it an -o of its own")
            path /= text
        return path


def _literal_part(output: str) -> tuple[Path, list[str]]:
    """The part of a path that is no template, without braces or there under that very name, and the parts behind it."""
    path, parts = Path(), list(Path(output).parts)
    while parts and (not {*"{}"} & {*parts[0]} or os.path.lexists(path / parts[0])):
        path /= parts.pop(0)
    return path, parts


def _fields_in(part: str, output: str) -> list[str]:
    """The fields in a part of the template `output`; raises `UsageError` for such that there are not."""
    literally = "{{ and }} stand for braces themselves"
    try:
        parsed = [rest for _, *rest in string.Formatter().parse(part) if rest[0] is not None]
    except ValueError:
        raise UsageError(f"expected braces in pairs in -o, got {output}; {literally}") from None
    for name, format_spec, conversion in parsed:
        if name not in FIELDS or format_spec or conversion:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"expected nothing but {known} in braces in -o, got {output}; {literally}")
    return [str(name) for name, *_ in parsed]


def _check_template(parts: list[str], fields: list[list[str]], output: str) -> None:
    if output.endswith(_SEPARATORS) or parts[-1] == "{ext}":
        raise UsageError(f"expected -o to end in a file name, got {output}; {DEFAULT_TEMPLATE} is the usual one")
    lost = any("folder" in found and part != "{folder}" for part, found in zip(parts, fields, strict=True))
    if lost or parts[-1] == "{folder}":
        raise UsageError(
            f"expected {{folder}} to be a folder of its own in -o, as in {{folder}}/{DEFAULT_TEMPLATE}, got {output}"
        )


def _check_folder(folder: Path, output: str) -> None:
    """Raise `UsageError` where several outputs would go into one file: one that is there, or what looks like one."""
    named_file = folder.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and not output.endswith(_SEPARATORS)
    if not folder.is_dir() and (os.path.lexists(folder) or named_file):
        raise UsageError(
            f"expected a folder for what may be several outputs, got a file's name: {output}; or try -o '{DEFAULT_TEMPLATE}'"
        )
