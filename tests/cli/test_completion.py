"""Shell completion: what the shell gets, and that the scripts for bash, zsh and fish work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import BashComplete, CompletionItem, get_completion_class

from tests.support.helpers import command, environment
from vidstyle.cli import cli


def completed(*words: str) -> list[CompletionItem]:
    """The completions of the last word."""
    return BashComplete(cli, {}, "vidstyle", "_VIDSTYLE_COMPLETE").get_completions(list(words[:-1]), words[-1])


def values(*words: str) -> list[str]:
    return [item.value for item in completed(*words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], ["styles"]),
        (["styles", "ve"], ["verify"]),
        (["--styl"], ["--style"]),
        (["in.mp4", "--styl"], ["--style"]),
        (["in.mp4", "--backend", ""], ["auto", "onnx", "torch"]),
        (["in.mp4", "--style", "mos"], ["mosaic"]),
        (["in.mp4", "--style", "mosaic:0.6,scr"], ["mosaic:0.6,scream"]),
        (["keyframes", "in.mp4", "--style", "mos"], ["mosaic"]),
        (["live", "--style", "mos"], ["mosaic"]),
        (["styles", "verify", "mos"], ["mosaic"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_options_and_styles_are_completed(words: list[str], expected: list[str]) -> None:
    assert values(*words) == expected


@pytest.mark.parametrize(
    "words",
    [["vid"], ["in.mp4", "oth"], ["in.mp4", "--style", "own.on"], ["paint", "ph"], ["in.mp4", "-o", "ou"]],
    ids=" ".join,
)
def test_files_are_completed(words: list[str]) -> None:
    assert [(item.value, item.type) for item in completed(*words)] == [(words[-1], "file")]


def test_former_names_of_options_are_not_completed() -> None:
    assert values("styles", "--pi") == []
    assert values("train", "--stead") == []
    assert "--artist" in values("train", "--")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    done = subprocess.run(
        command(), env=environment(_VIDSTYLE_COMPLETE=f"{shell}_source"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"_VIDSTYLE_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_style(tmp_path: Path) -> None:
    start = tmp_path / "vidstyle"
    start.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in command()) + ' "$@"\n')
    start.chmod(0o755)
    script = (
        f'PATH={tmp_path}:$PATH; eval "$(_VIDSTYLE_COMPLETE=bash_source vidstyle)"; '
        "COMP_WORDS=(vidstyle in.mp4 --style mos); COMP_CWORD=3; _vidstyle_completion vidstyle; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout == "mosaic\n", done.stderr
