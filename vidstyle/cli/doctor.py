"""`vidstyle doctor`: check what works on this machine."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vidstyle.cli.options import Command
from vidstyle.cli.output import cell, print_json, print_line, print_table
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL

if TYPE_CHECKING:
    from vidstyle.doctor.checks import Check

JSON_VERSION = 1

_COLORS = {"ok": "green", "note": "yellow", "bad": "red"}
_NAME_WIDTH = 22


@click.command(cls=Command, examples=["vidstyle doctor", "vidstyle doctor --json"])
@click.option("--json", "as_json", is_flag=True, help="Print all rows as one JSON object.")
@click.pass_obj
def doctor(signals: Signals, /, as_json: bool) -> int:
    """Check what works on this machine, and explain what does not.

    Tries out everything that vidstyle needs or could use, and prints one line for each, with advice where something can be done.
    Nothing is downloaded, and no files are left behind. The exit code is 4 if no video can be stylized here.
    """
    from vidstyle.doctor import INSPECTIONS, can_convert, examine

    checks = []
    signals.hold()
    with closing(examine(INSPECTIONS, signals.check)) as rows:
        for check in rows:
            checks.append(check)
            if not as_json:
                _report(check)
    well = can_convert(checks)
    if as_json:
        print_json({"v": JSON_VERSION, "ok": well, "checks": [asdict(check) for check in checks]})
    else:
        print_line("videos can be stylized here" if well else "no video can be stylized here: see the row `conversion`")
    return EXIT_DONE if well else EXIT_MODEL


def _report(check: Check) -> None:
    """Print the row of a check, and its advice below it."""
    from rich.table import Table

    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=len("note"))
    row.add_column(width=_NAME_WIDTH)
    row.add_column(overflow="fold")
    row.add_row(cell(check.state, _COLORS[check.state]), cell(check.name), cell(check.details))
    if check.advice:
        row.add_row("", "", cell(f"-> {check.advice}"))
    print_table(row)
