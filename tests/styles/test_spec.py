"""The syntax of `--style` and `--timeline`, how outputs are named after them, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import vidstyle
from tests.support.helpers import listing, write_clip
from vidstyle.batch.planner import plan
from vidstyle.cli import run_command_line
from vidstyle.core.errors import EXIT_MODEL, EXIT_USAGE, StyleError, UsageError
from vidstyle.styles.spec import Blend, Change, label_of, parse_seconds, parse_style, parse_timeline, styles_in


def blend_of(text: str) -> dict[str, float]:
    """The weights in `text`, which must not be a timeline."""
    [change] = parse_style(text)
    assert change.seconds == 0
    return dict(change.blend)


def alone(name: str) -> Blend:
    return ((name, 1.0),)


# --- styles and blends


@pytest.mark.parametrize("name", ["mosaic", "great-wave", "candy.onnx", "models/candy.pth", "a b", r"C:\styles\candy.onnx"])
def test_a_style_stands_for_itself(name: str) -> None:
    assert blend_of(name) == {name: 1}


@pytest.mark.parametrize(
    ("text", "blend"),
    [
        ("mosaic:0.6,great-wave:0.4", {"mosaic": 0.6, "great-wave": 0.4}),
        ("mosaic: 0.25, scream:.75", {"mosaic": 0.25, "scream": 0.75}),
        ("mosaic,scream", {"mosaic": 0.5, "scream": 0.5}),
        ("a,b,c,d", dict.fromkeys("abcd", 0.25)),
        ("mosaic:1", {"mosaic": 1}),
        ("styles/a.onnx:0.5,b:0.5", {"styles/a.onnx": 0.5, "b": 0.5}),
        (r"C:\a.onnx:0.5,b:0.5", {r"C:\a.onnx": 0.5, "b": 0.5}),
    ],
)
def test_a_blend_has_the_given_weights(text: str, blend: dict[str, float]) -> None:
    assert blend_of(text) == pytest.approx(blend)


@pytest.mark.parametrize("text", ["a:0.33,b:0.33,c:0.33", "a:0.333,b:0.667", "a:0.5,b:0.505"])
def test_rounded_weights_are_normalized(text: str) -> None:
    weights = blend_of(text)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:0.5,b:0.4", "0.5 + 0.4 = 0.9"),
        ("a:0.8,b:0.8", "0.8 + 0.8 = 1.6"),
        ("a:0.5", "0.5 = 0.5"),
        ("a:0.5,b:-0.5", "weight"),
        ("a:0,b:1", "weight"),
        ("a:2,b:1", "weight"),
        ("a:nan,b:1", "weight"),
        ("a:inf,b:0.5", "weight"),
        ("a:0.5,b", "weight"),
        ("a,b:1", "weight"),
        ("a:0.5,a:0.5", "different styles"),
        ("a,a", "different styles"),
        ("a,", "separated by commas"),
        (",a", "separated by commas"),
        ("a,,b", "separated by commas"),
        (":0.5,b:0.5", "separated by commas"),
        ("", "styles"),
    ],
)
def test_an_invalid_blend_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match="expected") as error:
        parse_style(text)
    assert message in str(error.value)


def test_a_file_is_no_blend_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("red,blue.onnx", "0:red.onnx", "red:1"):
        assert blend_of(name) != {name: 1}
        Path(name).touch()
        assert blend_of(name) == {name: 1}


# --- timelines


@pytest.mark.parametrize("parse", [parse_style, parse_timeline])
@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("0:mosaic,10:scream", [(0, "mosaic"), (10, "scream")]),
        ("0:mosaic, 0.5:scream, 1:20:udnie", [(0, "mosaic"), (0.5, "scream"), (80, "udnie")]),
        ("0:00:mosaic,1:02:03.5:scream", [(0, "mosaic"), (3723.5, "scream")]),
        ("0:mosaic,5:scream,10:mosaic", [(0, "mosaic"), (5, "scream"), (10, "mosaic")]),
        ("0:mosaic", [(0, "mosaic")]),
        ("0:models/a.onnx,3:b.pth", [(0, "models/a.onnx"), (3, "b.pth")]),
    ],
)
def test_a_timeline_has_a_style_from_each_time_on(parse: object, text: str, changes: list[tuple[float, str]]) -> None:
    assert callable(parse)
    assert parse(text) == tuple(Change(seconds, alone(name)) for seconds, name in changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:a,10:b,5:c", "in order"),
        ("0:a,0:b", "in order"),
        ("0:a,5:b,0:05:c", "in order"),
        ("3:a,10:b", "begins with a style at 0"),
        ("1:a", "begins with a style at 0"),
        ("0:a,b", "a time before every style"),
        ("a,10:b", "a time before every style"),
        ("0:a:0.5,10:b:0.5", "a time before every style"),
        ("0:a,-5:b", "a time before every style"),
        ("0:a,nan:b", "a time before every style"),
        ("0:a,inf:b", "a time before every style"),
        ("0:a,1:2:3:4:b", "a time before every style"),
        ("0:a,", "a time before every style"),
    ],
)
def test_an_invalid_timeline_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_style(text)


@pytest.mark.parametrize("text", ["mosaic", "mosaic:0.5,scream:0.5", "mosaic,scream", "", ",", "x:mosaic"])
def test_text_that_is_no_timeline_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a timeline"):
        parse_timeline(text)


@pytest.mark.parametrize("text", ["", "one", "1:2:3:4", "-1", "1:-2", "nan", "inf", "1:inf", "::"])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the message does not matter
        parse_seconds(text)


# --- names


def test_every_style_is_listed_once() -> None:
    assert styles_in("0:a,5:b,10:a") == ["a", "b"]
    assert styles_in("b:0.5,x/c.onnx:0.5") == ["b", "x/c.onnx"]
    assert styles_in("a") == ["a"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("mosaic", "mosaic"),
        ("models/candy.onnx", "candy"),
        ("candy.pth", "candy"),
        ("mosaic:0.6,scream:0.4", "mosaic+scream"),
        ("a/b/candy.onnx:0.5,scream:0.5", "candy+scream"),
        ("0:mosaic,10:scream", "mosaic-to-scream"),
        ("0:a/candy.onnx,1:20:scream,2:00:candy", "candy-to-scream-to-candy"),
        (",".join(f"style-number-{n}" for n in range(9)), "many-styles"),
        (",".join(f"{n}:style-number-{n}" for n in range(9)), "many-styles"),
    ],
)
def test_outputs_are_named_after_the_style(tmp_path: Path, text: str, label: str) -> None:
    assert label_of(text) == label
    (tmp_path / "in.mp4").touch()
    assert [job.output.name for job in plan([str(tmp_path / "in.mp4")], [text])] == [f"in.{label}.mp4"]


def test_blends_that_would_have_the_same_name_are_refused() -> None:
    with pytest.raises(UsageError, match="would both be written to"):
        plan([__file__], ["a:0.5,b:0.5", "a:0.6,b:0.4"])


# --- on the command line


REFUSED = [
    (["--style", "tiny:0.5,slow:0.4"], EXIT_USAGE, "expected weights that add up to 1, got 0.5 + 0.4 = 0.9"),
    (["--style", "tiny", "--style", "tiny:3,slow:4"], EXIT_USAGE, "weight from 0 to 1"),
    (["--timeline", "0:tiny,4:slow,2:tiny"], EXIT_USAGE, "times of a timeline in order"),
    (["--timeline", "2:tiny,4:slow"], EXIT_USAGE, "begins with a style at 0"),
    (["--timeline", "tiny"], EXIT_USAGE, "expected a timeline"),
    (["--timeline", "0:tiny,4:slow", "--style", "tiny"], EXIT_USAGE, "--style or --timeline, got both"),
    (["--timeline", "0:tiny,4:slow", "--fade", "-1"], EXIT_USAGE, "-1"),
    (["--timeline", "0:tiny,4:slow", "--fade", "nan"], EXIT_USAGE, "nan"),
    (["--style", "tiny", "--strength", "1.5"], EXIT_USAGE, "1.5"),
    (["--style", "tiny", "--strength", "nan"], EXIT_USAGE, "nan"),
    (["--style", "tiny", "--stroke-scale", "0"], EXIT_USAGE, "0"),
    (["--style", "tiny", "--stroke-scale", "nan"], EXIT_USAGE, "nan"),
    (["--style", "tiny:0.5,nobody:0.5"], EXIT_MODEL, "unknown style 'nobody'"),
    (["--timeline", "0:tiny,4:tyni"], EXIT_MODEL, "did you mean tiny"),
]
MODES: dict[str, list[str]] = {"convert": [], "dry run": ["--dry-run"], "workers": ["--workers", "2"]}


@pytest.mark.parametrize(
    ("mode", "options", "code", "message"),
    [
        *(("convert", *refused) for refused in REFUSED),
        *((mode, *REFUSED[n]) for mode in ("dry run", "workers") for n in (0, 2, 8, -2)),
    ],
)
def test_invalid_style_options_are_refused_before_anything_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], code: int, message: str, mode: str
) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(2))
    assert run_command_line([str(clip), *options, *MODES[mode]]) == code
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert listing(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize(
    "options",
    [{"strength": -0.1}, {"strength": math.nan}, {"stroke_scale": 5}, {"stroke_scale": 0}, {"fade": -1}, {"fade": math.inf}],
    ids=str,
)
def test_the_python_api_refuses_values_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected a"):
        vidstyle.Stylizer("tiny", **options)


def test_the_python_api_refuses_unknown_styles() -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        vidstyle.Stylizer("tiny:0.5,slow:0.6")
    with pytest.raises(StyleError, match="nobody"):
        vidstyle.Stylizer("0:tiny,4:nobody")
