"""The paths of outputs: beside their inputs, in a folder, or from a template."""

from __future__ import annotations

import os
import string
from pathlib import Path

from vidstyle.conversion.output_name import DEFAULT_TEMPLATE, fields_of
from vidstyle.core.errors import UsageError
from vidstyle.core.files import is_url
from vidstyle.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

FIELDS = ("stem", "ext", "name", "style", "folder")
"""The fields of a template. For `day1/a.webm` in the folder `holiday` and the style mosaic their values are `a`, `.mkv` (the
default suffix of the output), `a.webm`, `mosaic` and `day1`."""

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class OutputPaths:
    """Maps inputs to output paths. `output` is the value of `-o`: None, a file, a folder or a template with `FIELDS`.

    None: `in.mp4` becomes `in.STYLE.mp4` beside it. Folder: outputs get that name too, in the same subfolders as their inputs.
    Template: a file beside the input, or, if the template contains a folder, a path relative to the current folder.
    `several`: there may be more than one output. Raises `UsageError` for an invalid template, and for a file if there may be
    several outputs.
    """

    def __init__(self, output: str | None, several: bool) -> None:
        self._beside, self._root, self._parts = output is None, Path(), [DEFAULT_TEMPLATE]
        self.folder: Path | None = None
        """The folder that all outputs go into; None if there is no such folder."""
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
        if several or os.path.isdir(self._root) or output.endswith(_SEPARATORS):
            _check_folder(self._root, output)
            self.folder, self._parts = self._root, ["{folder}", DEFAULT_TEMPLATE]
        else:
            self._parts = []

    def path(self, input: str, folder: str, label: str) -> Path:
        """The output path of `input`. `folder`: the subfolder of an input folder in which it was found, "" for none.

        Raises `UsageError` where a template results in an empty name, or where a field would lead out of the folder.
        """
        path = Path(input).parent if self._beside and not is_url(input) else self._root
        fields = fields_of(input, folder, label)
        for part in self._parts:
            text = part.format_map(fields)
            if part not in (text, "{folder}") and (text in ("", ".", "..") or any(mark in text for mark in _SEPARATORS)):
                raise UsageError(
                    f"expected a file name from {part} in -o, got '{text}' for {input}; convert it with a separate -o"
                )
            path /= text
        return path


def _literal_part(output: str) -> tuple[Path, list[str]]:
    """Split a path before its first part with braces, unless a file of that very name exists."""
    path, parts = Path(), list(Path(output).parts)
    while parts and (not {*"{}"} & {*parts[0]} or os.path.lexists(path / parts[0])):
        path /= parts.pop(0)
    return path, parts


def _fields_in(part: str, output: str) -> list[str]:
    """The fields in a part of the template `output`; raises `UsageError` for unknown ones."""
    literally = "write {{ and }} for literal braces"
    try:
        parsed = [rest for _, *rest in string.Formatter().parse(part) if rest[0] is not None]
    except ValueError:
        raise UsageError(f"expected matching braces in -o, got {output}; {literally}") from None
    for name, format_spec, conversion in parsed:
        if name not in FIELDS or format_spec or conversion:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"expected only {known} in braces in -o, got {output}; {literally}")
    return [str(name) for name, *_ in parsed]


def _check_template(parts: list[str], fields: list[list[str]], output: str) -> None:
    if output.endswith(_SEPARATORS) or parts[-1] == "{ext}":
        raise UsageError(f"expected -o to end in a file name, got {output}; the default is {DEFAULT_TEMPLATE}")
    lost = any("folder" in found and part != "{folder}" for part, found in zip(parts, fields, strict=True))
    if lost or parts[-1] == "{folder}":
        raise UsageError(f"expected {{folder}} as a separate folder in -o, as in {{folder}}/{DEFAULT_TEMPLATE}, got {output}")


def _check_folder(folder: Path, output: str) -> None:
    """Raise `UsageError` where several outputs would go into one file: an existing one, or a name with a media suffix."""
    named_file = folder.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and not output.endswith(_SEPARATORS)
    if not os.path.isdir(folder) and (os.path.lexists(folder) or named_file):
        raise UsageError(
            f"expected a folder for several outputs, got the name of a file: {output}; or try -o '{DEFAULT_TEMPLATE}'"
        )
