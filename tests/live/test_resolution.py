"""The automatic inference height follows the speed of the machine."""

from __future__ import annotations

import itertools

from vidstyle.live.resolution import ResolutionControl

FPS = 30.0


def stylize_for(resolution: ResolutionControl, seconds: float, cost: float) -> list[int]:
    """Heights in the course of `seconds` on a machine that takes `cost` seconds for an image 360 high."""
    heights, clock = [], 0.0
    while clock < seconds:
        took = cost * (resolution.height / 360) ** 2
        resolution.add_time(took)
        clock += max(took, 1 / resolution.fps)
        heights.append(resolution.height)
    return heights


def test_a_fast_machine_reaches_full_height_within_a_second() -> None:
    assert stylize_for(ResolutionControl(360, FPS), 1.0, cost=0.012)[-1] == 360


def test_a_slow_machine_uses_a_height_that_holds_the_rate() -> None:
    resolution = ResolutionControl(720, FPS)
    stylize_for(resolution, 5.0, cost=0.08)
    assert 0.08 * (resolution.height / 360) ** 2 < 1 / FPS
    assert resolution.height >= 120


def test_a_settled_height_stays() -> None:
    resolution = ResolutionControl(720, FPS)
    stylize_for(resolution, 5.0, cost=0.03)
    assert len(set(stylize_for(resolution, 120.0, cost=0.03))) == 1


def test_the_height_drops_under_load_and_recovers() -> None:
    resolution = ResolutionControl(360, FPS)
    before = stylize_for(resolution, 3.0, cost=0.012)[-1]
    under_load = stylize_for(resolution, 4.0, cost=0.06)[-1]
    assert under_load < before
    assert stylize_for(resolution, 60.0, cost=0.012)[-1] == before


def test_the_height_does_not_oscillate() -> None:
    """After 20 s to settle there are few changes within two minutes, whatever the cost."""
    for cost in [0.01 + 0.002 * i for i in range(30)]:
        resolution = ResolutionControl(720, FPS)
        stylize_for(resolution, 20.0, cost)
        heights = stylize_for(resolution, 120.0, cost)
        assert sum(a != b for a, b in itertools.pairwise(heights)) <= 4, cost


def test_a_fixed_height_holds_whatever_it_costs() -> None:
    resolution = ResolutionControl(720, FPS)
    resolution.fix(540)
    assert set(stylize_for(resolution, 10.0, cost=0.1)) == {540}
    resolution.fix(None)
    assert stylize_for(resolution, 10.0, cost=0.1)[-1] < 540


def test_the_height_never_exceeds_the_image() -> None:
    assert ResolutionControl(200, FPS).height == 200
    assert set(stylize_for(ResolutionControl(200, FPS), 20.0, cost=0.001)) == {200}
    resolution = ResolutionControl(200, FPS)
    resolution.fix(1080)
    assert resolution.height == 200
