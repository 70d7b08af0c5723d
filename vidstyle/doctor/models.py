"""The styles: whether their files are present and unmodified, and whether they work."""

from __future__ import annotations

from vidstyle.core.errors import MissingExtraError, StyleError
from vidstyle.doctor.checks import Check
from vidstyle.styles.catalog import all_styles, user_folder
from vidstyle.stylizers.install import verify_style


def styles() -> list[Check]:
    """A row for each style in the catalogues."""
    rows = [_style(name, folder == user_folder()) for name, (folder, _) in sorted(all_styles().items())]
    return rows or [Check("styles", "bad", "no style was found", "pip install --force-reinstall vidstyle")]


def _style(name: str, own: bool) -> Check:
    row = f"style {name}"
    try:
        verify_style(name)
    except MissingExtraError as error:
        return Check(row, "note", str(error))
    except StyleError as error:
        advice = f"vidstyle styles remove {name}, or add it again" if own else "pip install --force-reinstall vidstyle"
        return Check(row, "bad", str(error), advice)
    return Check(row, "ok", f"{'your own' if own else 'shipped'}: its files match the catalogue, and it stylizes")
