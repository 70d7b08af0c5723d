"""The groups of attacks: how many of a thousand each has, and how to repeat one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.bench.attacks import (
    destroyed,
    escapes,
    flat,
    limits,
    memory,
    models,
    names,
    network,
    python_api,
    replaced,
    signals,
    streams,
    web,
)
from tools.bench.attacks.lab import Attack, Lab


@dataclass(frozen=True)
class Group:
    """How to attack, and how many of a thousand attacks are of this group."""

    attack: Callable[[Lab, random.Random], Attack]
    share: int


GROUPS = {
    "flat": Group(flat.attack, 120),
    "models": Group(models.attack, 130),
    "signals": Group(signals.attack, 130),
    "replaced": Group(replaced.attack, 50),
    "destroyed": Group(destroyed.attack, 100),
    "streams": Group(streams.attack, 80),
    "web": Group(web.attack, 120),
    "escapes": Group(escapes.attack, 90),
    "memory": Group(memory.attack, 24),
    "limits": Group(limits.attack, 50),
    "names": Group(names.attack, 70),
    "python": Group(python_api.attack, 50),
    "network": Group(network.attack, 6),
}


def keys(attacks: int, seed: int, only: Sequence[str] | None = None) -> Iterator[str]:
    """The keys of attacks, such as flat-17, in an order that mixes the groups (or `only` those) by their shares."""
    shares = {name: group.share for name, group in GROUPS.items() if not only or name in only}
    begun = dict.fromkeys(shares, 0)
    for number in range(1, attacks + 1):
        # The group that lags most behind its share is next.
        name = max(shares, key=lambda name: shares[name] * number / sum(shares.values()) - begun[name])
        yield f"{name}-{100_000 * seed + begun[name]}"
        begun[name] += 1


def run_attack(lab: Lab, key: str, keep: bool = False) -> Attack:
    """Run the attack `key` in a folder of its own, which is removed unless `keep`."""
    name = key.partition("-")[0]
    lab.enter(key)
    try:
        return GROUPS[name].attack(lab, random.Random(key))
    finally:
        if not keep:
            lab.leave()
