"""`vidstyle styles`: list styles, show them on a sheet, add, verify and remove them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidstyle.cli.completion import complete_files, complete_styles
from vidstyle.cli.options import INPUT_OUTPUT, NETWORK_OPTION, SECONDS, Command, Group, Option, panel
from vidstyle.cli.output import cell, print_json, print_line, print_table
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL, UsageError, VidstyleError

if TYPE_CHECKING:
    from rich.table import Table

JSON_VERSION = 1

_COLUMNS = {
    **{"name": "name", "title": "title", "painter": "artist", "year": "year"},
    **{"size": "size", "source": "from", "exemplar": "exemplar", "licence": "licence"},
}
"""Facts and their headings."""


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples=["vidstyle styles", "vidstyle styles --sheet styles.jpg --image photo.jpg", "vidstyle styles add waves.onnx"],
)
@panel(
    "List",
    click.option("--json", "as_json", is_flag=True, help="Print all facts as one JSON object."),
)
@panel(
    "Sheet",
    click.option(
        "--sheet",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write one image (.png, .jpg or .webp) that shows --image in every style.",
    ),
    click.option(
        "--image",
        cls=Option,
        aliases=["--picture"],
        metavar="FILE",
        help="Image to stylize for the sheet, or a video to take one frame from.",
    ),
    click.option(
        "--at",
        type=SECONDS,
        default=None,
        show_default="the middle of the video",
        help="Time of that frame, as seconds or H:M:S.",
    ),
    click.option("--height", type=int, default=None, show_default="the image's height", help="Height at which the networks run."),
    click.option("--overwrite", is_flag=True, help="Replace a sheet that exists."),
)
@click.pass_context
def styles(context: click.Context, /, as_json: bool, sheet: Path | None, **values: Any) -> int:
    """List the available styles or show them on a sheet; add, verify and remove styles."""
    sheets_own = [f"--{name}" for name, value in values.items() if value not in (None, False)]
    if context.invoked_subcommand is not None:
        options = ["--json"] * as_json + ["--sheet"] * (sheet is not None) + sheets_own
        if options:
            raise UsageError(f"{options[0]} cannot be used before {context.invoked_subcommand}; leave it out")
        return EXIT_DONE
    if sheet is None:
        if sheets_own:
            raise UsageError(f"{sheets_own[0]} can only be used with --sheet FILE")
        return _list(as_json)
    if as_json:
        raise UsageError("--sheet cannot be combined with --json")
    return _sheet(context.obj, sheet, **values)


def _sheet(signals: Signals, output: Path, image: str | None, at: float | None, height: int | None, overwrite: bool) -> int:
    if image is None:
        raise UsageError("--sheet needs --image FILE, an image or video to stylize")
    from vidstyle.conversion.contact_sheet import make_contact_sheet

    make_contact_sheet(output, image, at, height, overwrite, signals)
    return EXIT_DONE


def _list(as_json: bool) -> int:
    from vidstyle.styles.catalog import all_styles

    found = [_facts_of(name, folder, facts) for name, (folder, facts) in sorted(all_styles().items())]
    if as_json:
        print_json({"v": JSON_VERSION, "styles": found})
    else:
        print_table(_table(found))
    return EXIT_DONE


def _facts_of(name: str, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about a style for --json; None for what is unknown or missing."""
    from vidstyle.styles.catalog import FACTS, known, user_folder

    model = folder / str(facts.get("file", ""))
    exemplar = folder / str((facts.get("exemplar") or {}).get("file", ""))
    return {
        "name": name,
        **{key: known(facts, key) for key in FACTS},
        "file": str(model),
        "sha256": facts.get("sha256"),
        "bytes": model.stat().st_size if os.path.isfile(model) else None,
        "exemplar": str(exemplar) if os.path.isfile(exemplar) else None,
        "source": "own" if folder == user_folder() else "shipped",
    }


def _table(found: list[dict[str, Any]]) -> Table:
    """A row per style below the headings; the longest column comes last."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for heading in _COLUMNS.values():
        table.add_column(heading, no_wrap=heading not in ("title", "artist", "licence"))
    for style in found:
        size = "missing" if style["bytes"] is None else f"{style['bytes'] / 1000:.0f} kB"
        shown = {**style, "size": size, "exemplar": style["exemplar"] and "yes"}
        table.add_row(*(cell(shown[column] or "-") for column in _COLUMNS))
    return table


@styles.command(cls=Command, examples=["vidstyle styles add waves.onnx --title 'The Great Wave' --artist Hokusai"])
@click.argument("origin", metavar="FILE|URL", shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option("--name", default=None, show_default="the name in the model, or the file's", help="Name of the style."),
    click.option("--sha256", default=None, metavar="HEX", help="Expected SHA-256 of the file; required for a URL."),
    click.option("--overwrite", is_flag=True, help="Replace a style of this name."),
    NETWORK_OPTION,
)
@panel(
    "Catalogue",
    click.option("--title", default=None, help="Title of the style image."),
    click.option("--artist", "painter", cls=Option, aliases=["--painter"], default=None, help="Artist of the style image."),
    click.option("--year", default=None, help="Year of the style image."),
    click.option("--licence", default=None, help="Licence of the model."),
)
@click.pass_obj
def add(
    signals: Signals,
    /,
    origin: str,
    name: str | None,
    sha256: str | None,
    overwrite: bool,
    allow_network: bool,
    **facts: str | None,
) -> int:
    """Add a model to your styles, to use it with --style NAME.

    The model is an .onnx file, or a .pth file as pytorch/examples writes it. It must load and stylize an image. Facts that you
    leave out are read from the model.
    """
    from vidstyle.stylizers.install import install

    signals.hold()
    print_line(install(origin, facts, name, sha256, overwrite, allow_network, signals.check))
    return EXIT_DONE


@styles.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME ...]", shell_complete=complete_styles)
@click.pass_obj
def verify(signals: Signals, /, names: tuple[str, ...]) -> int:
    """Check styles: the named ones, or all.

    The files must match the catalogue, and the model must stylize an image. One line is printed per style, and the exit code is
    4 if a style failed.
    """
    from vidstyle.styles.catalog import all_styles
    from vidstyle.stylizers import install as installing

    signals.hold()
    code = EXIT_DONE
    for name in dict.fromkeys(names) or sorted(all_styles()):
        try:
            installing.verify_style(name, signals.check)
            result = "ok"
        except VidstyleError as error:
            code, result = EXIT_MODEL, str(error)
        print_line(f"{name}: {result}")
    return code


@styles.command(cls=Command)
@click.argument("name", shell_complete=complete_styles)
def remove(name: str) -> int:
    """Remove one of your own styles, with its model and its style image."""
    from vidstyle.styles.catalog import remove_style, user_folder
    from vidstyle.stylizers.install import writing_into

    with writing_into(user_folder()):
        remove_style(name)
    return EXIT_DONE
