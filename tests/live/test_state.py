"""Keys and sliders change the state of the live view."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from vidstyle.live.state import ACTIONS, KEYS, LiveState, Setting, adjust, press

START = LiveState(("a", "b", "c"))


def after(*keys: str, start: LiveState = START, height: int = 240) -> LiveState:
    return reduce(lambda state, key: press(state, key, height), keys, start)


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("n", [("b", 1.0)]),
        ("nnn", [("a", 1.0)]),
        ("p", [("c", 1.0)]),
        ("3", [("c", 1.0)]),
        ("9", [("a", 1.0)]),
    ],
)
def test_keys_change_the_style(keys: str, shown: list[tuple[str, float]]) -> None:
    assert after(*keys).mix() == shown


def test_ten_cross_fade_steps_reach_the_neighbour_and_ten_back_the_first() -> None:
    thrice: list[Any] = [("a", pytest.approx(0.7)), ("b", pytest.approx(0.3))]
    assert after("right", "right", "right").mix() == thrice
    assert after(*["right"] * 10).mix() == [("b", 1.0)]
    assert after(*["right"] * 10, *["left"] * 10).mix() == [("a", 1.0)]


def test_left_of_the_first_is_the_last() -> None:
    expected: list[Any] = [("c", pytest.approx(0.1)), ("a", pytest.approx(0.9))]
    assert after("left").mix() == expected


@pytest.mark.parametrize(("key", "style"), [("n", "b"), ("p", "a")])
def test_next_and_previous_within_a_cross_fade_lead_to_its_two_styles(key: str, style: str) -> None:
    assert after("right", "right", key).mix() == [(style, 1.0)]


def test_a_single_style_has_no_neighbour_but_itself() -> None:
    alone = LiveState(("only",))
    for key in ("n", "p", "left", "right"):
        assert {name for name, _ in after(key, start=alone).mix()} == {"only"}


def test_strength_stays_between_0_and_1() -> None:
    assert after("up").strength == 1.0
    assert after("down", "down").strength == pytest.approx(0.8)
    assert after(*["down"] * 15).strength == 0.0


@pytest.mark.parametrize(
    ("key", "field"), [("c", "keep_colors"), ("m", "mirror"), ("space", "frozen"), ("f", "full_screen"), ("h", "help")]
)
def test_a_key_toggles_a_setting(key: str, field: str) -> None:
    assert getattr(after(key), field)
    assert not getattr(after(key, key), field)


def test_split_starts_in_the_middle_and_can_be_dragged() -> None:
    assert after("o").split == 0.5
    assert adjust(after("o"), Setting("split", 0.2)).split == 0.2
    assert after("o", "o").split is None


def test_inference_height_changes_from_the_current_one_and_back_to_automatic() -> None:
    assert after("+", height=240).height == 288
    assert after("-", height=240).height == 216
    assert after("+", "0").height is None


@pytest.mark.parametrize(
    "setting", [Setting("strength", float("nan")), Setting("strength", None), Setting("position", None), Setting("other", 1.0)]
)
def test_invalid_settings_change_nothing(setting: Setting) -> None:
    assert adjust(START, setting) == START


def test_settings_are_clamped_to_their_range() -> None:
    assert adjust(START, Setting("strength", 7.0)).strength == 1.0
    assert adjust(START, Setting("split", -1.0)).split == 0.0
    assert adjust(START, Setting("position", 3.5)).mix() == [("a", 0.5), ("b", 0.5)]


def test_every_key_in_the_help_has_an_effect() -> None:
    listed = {*"np2cmo+-0srfhq", "left", "right", "up", "down", "space", "escape"}
    middle = LiveState(("a", "b", "c"), strength=0.5, height=240)
    assert {key for key in listed if key in ACTIONS or press(middle, key, 240) != middle} == listed
    in_help = " ".join(keys for keys, _ in KEYS).replace("Esc", "escape").replace("1-9", "2").replace(",", "").split()
    assert set(in_help) == listed


def test_the_status_line_names_styles_and_settings() -> None:
    assert after("right", "down", "c").describe() == "a 90% + b 10%, strength 90%, own colours"
