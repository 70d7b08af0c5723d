"""The command line: one command a module, and what becomes of errors and signals."""

from __future__ import annotations

import click

import vidstyle
from vidstyle.cli.bench import bench
from vidstyle.cli.convert import convert
from vidstyle.cli.doctor import doctor
from vidstyle.cli.keyframes import keyframes
from vidstyle.cli.live import devices, live
from vidstyle.cli.paint import paint
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.cli.styles import styles
from vidstyle.cli.train import train
from vidstyle.core.errors import EXIT_USAGE, VidstyleError


class _DefaultConvert(click.Group):
    """A group whose first word may also be an input: `vidstyle in.mp4` is `vidstyle convert in.mp4`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["convert", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        convert = self.commands["convert"]
        with click.Context(convert, info_name=ctx.info_name) as inner:
            convert.format_help(inner, formatter)
        with formatter.section("Other commands"):
            rows = [(n, c.get_short_help_str()) for n, c in sorted(self.commands.items()) if n != "convert"]
            formatter.write_dl(rows)


@click.group(cls=_DefaultConvert, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(vidstyle.__version__, prog_name="vidstyle")
def cli() -> None:
    """Turns videos into stylized videos."""


for command in (convert, bench, doctor, live, devices, train, paint, keyframes, styles):
    cli.add_command(command)


def run_command_line(args: list[str]) -> int:
    """Run the command line; returns the exit code. Whatever goes wrong is one sentence on stderr."""
    try:
        code = cli.main(args, prog_name="vidstyle", standalone_mode=False, obj=Signals())
        return int(code or 0)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except VidstyleError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo("interrupted; no unfinished output was kept", err=True)
        return exit_code(stop.__cause__ or stop)  # click turns KeyboardInterrupt into Abort
