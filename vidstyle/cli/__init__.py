"""The command line: the commands, the default command, and the exit codes of errors and signals."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem
from rich_click import RichCommandPanel, RichContext, RichGroup, RichHelpFormatter

import vidstyle
from vidstyle.cli.bench import bench
from vidstyle.cli.convert import convert
from vidstyle.cli.doctor import doctor
from vidstyle.cli.keyframes import keyframes
from vidstyle.cli.live import devices, live
from vidstyle.cli.options import HELP_CONFIG
from vidstyle.cli.output import escape_unencodable, print_error, print_message
from vidstyle.cli.paint import paint
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.cli.streams import EXIT_READER_GONE, ReaderGoneError
from vidstyle.cli.styles import styles
from vidstyle.cli.train import train
from vidstyle.core.cancellation import allow_again
from vidstyle.core.errors import EXIT_USAGE, expected
from vidstyle.core.limits import check_limits


class _DefaultConvert(RichGroup):
    """A group whose first word may also be an input: `vidstyle in.mp4` is `vidstyle convert in.mp4`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)  # noqa: TID251  # it has colours
            ctx.exit(EXIT_USAGE)
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["convert", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the help of `convert`, and a list of the other commands."""
        convert = self.commands["convert"]
        with RichContext(convert, info_name=ctx.info_name, help_option_names=ctx.help_option_names) as inner:
            convert.format_help(inner, formatter)
        others = [name for name, command in sorted(self.commands.items()) if not command.hidden]
        formatter.write(RichCommandPanel("Other commands", commands=others).render(self, ctx, formatter))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands or, where the first word may be an option or an input of `convert`, options and files."""
        if incomplete.startswith("-"):
            convert = self.commands["convert"]
            with click.Context(convert, info_name=ctx.info_name) as inner:
                return convert.shell_complete(inner, incomplete)
        return super().shell_complete(ctx, incomplete) or [CompletionItem(incomplete, type="file")]


@click.group(
    cls=_DefaultConvert,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "rich_help_config": HELP_CONFIG},
)
@click.version_option(vidstyle.__version__, prog_name="vidstyle")
def cli() -> None:
    """Turn videos into stylized videos."""
    check_limits()


for command in (convert, bench, doctor, live, devices, train, paint, keyframes, styles):
    cli.add_command(command)


def run_command_line(args: list[str]) -> int:
    """Run the command line; returns the exit code. Every error is printed as one sentence on stderr."""
    escape_unencodable()
    try:
        code = cli.main(args, prog_name="vidstyle", standalone_mode=False, obj=Signals())
        return int(code or 0)
    except click.ClickException as error:
        print_message(f"error: {error.format_message()}")
        return EXIT_USAGE
    except ReaderGoneError:
        return EXIT_READER_GONE
    except (KeyboardInterrupt, click.Abort) as stop:
        print_message("interrupted; no unfinished output was kept")
        if isinstance(stop, click.Abort):  # raised by click while it handles a KeyboardInterrupt
            return exit_code(stop.__context__ or stop)
        return exit_code(stop)
    except Exception as error:
        problem = expected(error)
        print_error(problem)
        return problem.exit_code
    finally:
        allow_again()
