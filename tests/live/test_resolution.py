"""The inference height follows what the machine manages."""

from __future__ import annotations

import itertools

from vidstyle.live.resolution import Pace

FPS = 30.0


def paint_for(pace: Pace, seconds: float, cost: float) -> list[int]:
    """Heights in the course of `seconds` on a machine that takes `cost` seconds for an image 360 high."""
    heights, clock = [], 0.0
    while clock < seconds:
        took = cost * (pace.height / 360) ** 2
        pace.stylized(took)
        clock += max(took, 1 / pace.fps)
        heights.append(pace.height)
    return heights


def test_a_fast_machine_paints_at_full_size_within_a_second() -> None:
    assert paint_for(Pace(360, FPS), 1.0, cost=0.012)[-1] == 360


def test_a_slow_machine_paints_small_enough_for_the_rate() -> None:
    pace = Pace(720, FPS)
    paint_for(pace, 5.0, cost=0.08)
    assert 0.08 * (pace.height / 360) ** 2 < 1 / FPS
    assert pace.height >= 120


def test_once_settled_it_stays() -> None:
    pace = Pace(720, FPS)
    paint_for(pace, 5.0, cost=0.03)
    assert len(set(paint_for(pace, 120.0, cost=0.03))) == 1


def test_a_burden_makes_it_smaller_and_its_end_larger_again() -> None:
    pace = Pace(360, FPS)
    before = paint_for(pace, 3.0, cost=0.012)[-1]
    burdened = paint_for(pace, 4.0, cost=0.06)[-1]
    assert burdened < before
    assert paint_for(pace, 60.0, cost=0.012)[-1] == before


def test_at_the_edge_it_does_not_swing() -> None:
    """The first stretch settles; whatever the cost, the two minutes after see few changes."""
    for cost in [0.01 + 0.002 * i for i in range(30)]:
        pace = Pace(720, FPS)
        paint_for(pace, 20.0, cost)
        heights = paint_for(pace, 120.0, cost)
        assert sum(a != b for a, b in itertools.pairwise(heights)) <= 4, cost


def test_a_wished_height_holds_whatever_it_costs() -> None:
    pace = Pace(720, FPS)
    pace.fix(540)
    assert set(paint_for(pace, 10.0, cost=0.1)) == {540}
    pace.fix(None)
    assert paint_for(pace, 10.0, cost=0.1)[-1] < 540


def test_never_above_the_image() -> None:
    assert Pace(200, FPS).height == 200
    assert set(paint_for(Pace(200, FPS), 20.0, cost=0.001)) == {200}
    pace = Pace(200, FPS)
    pace.fix(1080)
    assert pace.height == 200
