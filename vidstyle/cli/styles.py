"""`vidstyle styles`: what styles there are, how they look, and the care of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.shared import SECONDS
from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL, UsageError, VidstyleError

JSON_VERSION = 1

_COLUMNS = ("name", "title", "painter", "year", "size", "from", "exemplar", "licence")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="All facts as one JSON object, for programs.")
@click.option("--sheet", type=click.Path(path_type=Path), metavar="FILE",
              help="Paint --image in every style, all on one sheet: a .png, .jpg or .webp.")  # fmt: skip
@click.option("--image", metavar="FILE", help="For the sheet: an image, or a video of which one frame is taken.")
@click.option("--at", type=SECONDS, default=None, help="The frame's time (seconds or H:M:S). [default: the middle]")
@click.option("--height", type=int, default=None, help="Height at which the nets work. [default: the image's]")
@click.option("--overwrite", is_flag=True, help="Replace a sheet that exists.")
@click.pass_context
def styles(context: click.Context, /, as_json: bool, sheet: Path | None, **given: Any) -> int:
    """List the styles that there are, or show them on a sheet; add, verify and remove them."""
    sheets_own = [f"--{name}" for name, value in given.items() if value not in (None, False)]
    if context.invoked_subcommand is not None:
        options = ["--json"] * as_json + ["--sheet"] * (sheet is not None) + sheets_own
        if options:
            raise UsageError(f"expected no {options[0]} before {context.invoked_subcommand}, got it")
        return EXIT_DONE
    if sheet is None:
        if sheets_own:
            raise UsageError(f"expected --sheet FILE with {sheets_own[0]}, got none")
        return _list(as_json)
    if as_json:
        raise UsageError("expected --sheet or --json, got both")
    return _sheet(sheet, **given)


def _sheet(output: Path, image: str | None, at: float | None, height: int | None, overwrite: bool) -> int:
    if image is None:
        raise UsageError("expected --image FILE, an image or video to paint for the sheet, got none")
    from vidstyle.conversion.contact_sheet import make_contact_sheet

    make_contact_sheet(output, image, at, height, overwrite)
    return EXIT_DONE


def _list(as_json: bool) -> int:
    from vidstyle.styles.catalog import all_styles

    found = [_told(name, folder, facts) for name, (folder, facts) in sorted(all_styles().items())]
    if as_json:
        click.echo(json.dumps({"v": JSON_VERSION, "styles": found}, indent=2))
    else:
        for line in _table(found):
            click.echo(line)
    return EXIT_DONE


def _told(name: str, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A style as programs are told of it; None for what is not known or not there."""
    from vidstyle.styles.catalog import FACTS, known, user_folder

    model = folder / str(facts.get("file", ""))
    exemplar = folder / str((facts.get("exemplar") or {}).get("file", ""))
    return {
        "name": name,
        **{key: known(facts, key) for key in FACTS},
        "file": str(model),
        "sha256": facts.get("sha256"),
        "bytes": model.stat().st_size if model.is_file() else None,
        "exemplar": str(exemplar) if exemplar.is_file() else None,
        "source": "own" if folder == user_folder() else "shipped",
    }


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Aligned lines, the first of them of headings; the longest column comes last."""
    from rich.cells import cell_len

    from vidstyle.core.text import printable

    rows: list[tuple[str, ...]] = [_COLUMNS]
    for style in found:
        size = "missing" if style["bytes"] is None else f"{style['bytes'] / 1000:.0f} kB"
        shown = {**style, "size": size, "from": style["source"], "exemplar": style["exemplar"] and "yes"}
        rows.append(tuple(printable(shown[column] or "-") for column in _COLUMNS))
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


@styles.command()
@click.argument("origin", metavar="FILE|URL")
@click.option("--name", default=None, help="The style's name. [default: the model's own, or its file's]")
@click.option("--sha256", default=None, metavar="HEX", help="What the file's hash has to be; needed for a URL.")
@click.option("--title", default=None, help="The painting's title.")
@click.option("--painter", default=None)
@click.option("--year", default=None, help="When it was stylized.")
@click.option("--licence", default=None, help="The model's.")
@click.option("--overwrite", is_flag=True, help="Replace a style of this name.")
@click.option("--allow-network", is_flag=True, help="Open URLs.")
def add(origin: str, name: str | None, sha256: str | None, overwrite: bool, allow_network: bool, **facts: str | None) -> int:
    """Enter a model into your styles, for --style NAME.

    An .onnx, or a .pth of pytorch/examples. It has to load and to paint. Facts that are not given come from the model.
    """
    from vidstyle.stylizers.install import install

    click.echo(install(origin, facts, name, sha256, overwrite, allow_network))
    return EXIT_DONE


@styles.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
def verify(names: tuple[str, ...]) -> int:
    """Check styles, by default all.

    Are the files those of the catalogue, and does the model paint? A line each; the exit code is 4 if one is not well.
    """
    from vidstyle.core.text import printable
    from vidstyle.styles.catalog import all_styles
    from vidstyle.stylizers import install as installing

    code = EXIT_DONE
    for name in dict.fromkeys(names) or sorted(all_styles()):
        try:
            installing.verify(name)
            finding = "ok"
        except VidstyleError as error:
            code, finding = EXIT_MODEL, str(error)
        click.echo(printable(f"{name}: {finding}"))
    return code


@styles.command()
@click.argument("name")
def remove(name: str) -> int:
    """Remove a style of your own: its entry, its model, its exemplar."""
    from vidstyle.styles.catalog import remove_style, user_folder
    from vidstyle.stylizers.install import writing_into

    with writing_into(user_folder()):
        remove_style(name)
    return EXIT_DONE
