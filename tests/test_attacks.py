"""A few attacks of each group that is quick; `python -m tools.bench.attacks` tries a thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench.attacks.groups import GROUPS, keys, run_attack
from tools.bench.attacks.lab import Lab

QUICK = {"destroyed": 8, "escapes": 12, "models": 8, "names": 12, "python": 1, "streams": 1, "web": 12}
"""Groups and how many attacks of each."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("attacks") / "lab")
    yield lab
    lab.close()


@pytest.mark.parametrize("key", [key for group, count in QUICK.items() for key in keys(count, 0, [group])])
def test_attack(lab: Lab, key: str) -> None:
    attack = run_attack(lab, key)
    assert attack.violations == [], attack.recipe


def test_keys_mix_all_groups() -> None:
    shares = [sum(key.startswith(f"{name}-") for key in keys(1000, 0)) for name in GROUPS]
    assert shares == pytest.approx(
        [1000 * group.share / sum(g.share for g in GROUPS.values()) for group in GROUPS.values()], abs=1
    )


def test_same_key_is_the_same_attack(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other")
    try:
        assert run_attack(lab, "models-1").recipe == run_attack(other, "models-1").recipe
    finally:
        other.close()
