"""Help texts, errors of usage, and options that were renamed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest

from tests.support.helpers import environment, run_process
from vidstyle.cli import cli, run_command_line
from vidstyle.cli.options import Command, Option

USAGE = 2
COMMANDS = [
    *([name] for name in sorted(cli.commands) if name != "convert"),
    *(["styles", name] for name in ("add", "remove", "verify")),
]
PANELS = ["Input and output", "Style", "Video", "Time range", "Performance", "Folders", "Cluster", "Other", "Other commands"]


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What `vidstyle ARGS --help` prints, in one line."""
    assert run_command_line([*args, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def parameters(*words: str) -> list[click.Parameter]:
    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found.params


def test_help_shows_the_options_of_convert_in_panels_and_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Usage: vidstyle [OPTIONS] INPUT [INPUT ...]")
    assert lines[2].rstrip() == "Examples:"
    assert [line.rstrip().rstrip(":") for line in lines if line.rstrip().endswith(":") and line[0] != " "][1:] == PANELS
    text = " ".join(" ".join(lines).split())
    assert "Only process files that match PATTERN" in text
    assert "[default: off]" in text
    for name, command in cli.commands.items():
        assert (f" {name} {command.get_short_help_str(200)}" in text) == (name != "convert"), name
    for option in parameters("convert"):
        assert all(f" {name} " in text for name in option.opts if name.startswith("-")), option


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_in_whole_sentences(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    text = shown(capsys, *words)
    assert text.startswith(f"Usage: vidstyle {' '.join(words)}")
    for option in parameters(*words):
        if isinstance(option, click.Option):
            assert option.help, option.name
            sentence = option.help.split(" [default")[0]
            assert sentence[0].isupper(), sentence
            assert sentence[-1] == ".", sentence
            assert f" {option.opts[-1]} " in text


def test_without_arguments_help_is_printed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line([]) == USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: vidstyle [OPTIONS] INPUT")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--bad"], "No such option '--bad'"),
        (["styles", "--bad"], "No such option '--bad'"),
        (["in.mp4", "--batch-size", "99"], "99 is not in the range"),
        (["in.mp4", "--strength", "nan"], "expected a number, got nan"),
        (["in.mp4", "--style"], "requires an argument"),
        (["styles", "add"], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_of_usage_is_one_plain_line(capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    assert run_command_line(args) == USAGE
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_rich_is_not_imported_before_help_is_shown() -> None:
    code = "import sys, vidstyle.cli; print([name for name in sys.modules if name.split('.')[0] == 'rich'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_needs_no_unicode() -> None:
    done = run_process("--help", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


# Options that were renamed


RENAMED = [
    (["styles"], "--image", "--picture"),
    (["styles", "add"], "--artist", "--painter"),
    (["train"], "--artist", "--painter"),
    (["train"], "--consistency-weight", "--steadiness-weight"),
    (["train"], "--consistency-ramp", "--steadiness-ramp"),
]


def parsed(words: list[str], *args: str) -> dict[str, Any]:
    """The parameters of a command after parsing."""
    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    with click.Context(found, resilient_parsing=True) as context:
        found.parse_args(context, list(args))
    return context.params


@pytest.mark.parametrize(("words", "name", "former"), RENAMED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_former_name_works_and_is_not_shown(
    capsys: pytest.CaptureFixture[str], words: list[str], name: str, former: str
) -> None:
    assert parsed(words, name, "0.5") == parsed(words, former, "0.5") != parsed(words)
    text = shown(capsys, *words)
    assert name in text
    assert former not in text


def test_of_several_names_the_last_one_counts() -> None:
    @click.command(cls=Command)
    @click.option("--new", cls=Option, aliases=["--old"])
    @click.option("--all", cls=Option, aliases=["--every"], multiple=True)
    def both(new: str | None, all: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
        return new, all

    for args, expected in (
        (["--new", "1", "--old", "2"], ("2", ())),
        (["--old=1", "--new=2"], ("2", ())),
        (["--all", "a", "--every", "b"], (None, ("a", "b"))),
    ):
        assert both.main(args, standalone_mode=False) == expected
