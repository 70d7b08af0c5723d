"""`vidstyle doctor`: what works on this machine, and why not."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL

if TYPE_CHECKING:
    from vidstyle.doctor.checks import Check

JSON_VERSION = 1

_COLORS = {"ok": "green", "note": "yellow", "bad": "red"}
_NAME_WIDTH = 22
_INDENT = " " * (len("note") + 2 + _NAME_WIDTH + 2)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All rows as one JSON object, for programs.")
def doctor(as_json: bool) -> int:
    """Tell what works on this machine, and why not.

    A line for everything that vidstyle needs or could use, tried out, with a line of advice where there is something to do.
    Nothing is downloaded, and nothing is left behind. The exit code is 4 if no video can be stylized here.
    """
    from vidstyle.doctor import INSPECTIONS, can_paint, examine

    checks = []
    with closing(examine(INSPECTIONS)) as rows:
        for check in rows:
            checks.append(check)
            if not as_json:
                _report(check)
    well = can_paint(checks)
    if as_json:
        click.echo(json.dumps({"v": JSON_VERSION, "ok": well, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        click.echo("videos can be stylized here" if well else "no video can be stylized here: see the row `painting`")
    return EXIT_DONE if well else EXIT_MODEL


def _report(check: Check) -> None:
    """A line, coloured on a terminal only, and one of advice below it."""
    from vidstyle.core.text import printable

    state = click.style(f"{check.state:<4}", fg=_COLORS[check.state])
    click.echo(f"{state}  {printable(check.name):<{_NAME_WIDTH}}  {printable(check.found)}")
    if check.advice:
        click.echo(f"{_INDENT}-> {printable(check.advice)}")
