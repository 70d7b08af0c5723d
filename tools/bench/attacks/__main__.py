"""A thousand attacks on vidstyle: how often is a guarantee violated?

    python -m tools.bench.attacks [--attacks 1000] [--seed 0] [--group flat] [--json tools/bench/results/attacks.json]
    python -m tools.bench.attacks --only flat-17       # repeat one attack, and keep its files

Each module of this package is a group: scenes without contrast, hostile models, signals, inputs that are replaced or aimed at
as outputs, broken streams, a server under fire, escape sequences, memory, limits, names, the Python API, the network. A key
such as flat-17 stands for the same attack on every machine, except for the exact moment of a signal or a replacement. Every
attack is judged from outside: exit code, messages, files, memory, packets, and what Debian's ffmpeg finds in the output.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.judge import Violation
from tools.bench.attacks.groups import GROUPS, keys, run_attack
from tools.bench.attacks.lab import Attack, Lab
from vidstyle.core.hardware import machine_details

ROOT = Path(__file__).resolve().parents[3]
WORKERS = 2


class Results:
    """Counts for each group, and the attacks that violated a promise."""

    def __init__(self) -> None:
        self.attacks: Counter[str] = Counter()
        self.codes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []

    def add(self, key: str, attack: Attack, seconds: float) -> None:
        group = key.partition("-")[0]
        self.attacks[group] += 1
        self.codes[group]["hang" if attack.code is None else str(attack.code)] += 1
        self.seconds[group] += seconds  # type: ignore[assignment]
        if attack.violations:
            self.kinds.update({violation.kind for violation in attack.violations})
            broken = [str(violation)[:600] for violation in attack.violations]
            self.failures.append({"only": key, "recipe": attack.recipe, "code": attack.code, "broken": broken})
            print(json.dumps(self.failures[-1]), flush=True)

    def faults(self, group: str) -> int:
        return sum(failure["only"].partition("-")[0] == group for failure in self.failures)

    def groups(self) -> dict[str, dict[str, Any]]:
        return {
            group: {
                "attacks": self.attacks[group],
                "faults": self.faults(group),
                "codes": dict(sorted(self.codes[group].items())),
                "seconds": round(self.seconds[group]),
            }
            for group in GROUPS
            if self.attacks[group]
        }

    def table(self) -> str:
        rows = [f"{'group':12}{'attacks':>8}{'faults':>8}{'seconds':>9}  exit codes"]
        for group, facts in self.groups().items():
            codes = ", ".join(f"{code}: {count}" for code, count in facts["codes"].items())
            rows.append(f"{group:12}{facts['attacks']:8}{facts['faults']:8}{facts['seconds']:9}  {codes}")
        return "\n".join([*rows, f"{'all':12}{self.attacks.total():8}{len(self.failures):8}"])


def run(attacked: list[str], folder: Path, keep: bool = False) -> Results:
    """Run the attacks, two at a time."""
    results = Results()
    labs: queue.SimpleQueue[Lab] = queue.SimpleQueue()
    made = [Lab(folder / f"lab{number}") for number in range(min(WORKERS, len(attacked)))]
    for lab in made:
        labs.put(lab)

    def one(key: str) -> tuple[str, Attack, float]:
        lab, began = labs.get(), time.monotonic()
        try:
            attack = run_attack(lab, key, keep)
        except Exception:  # the attacker's own fault, which must not end the run unseen
            attack = Attack("could not be tried", "none", [Violation("attacker", traceback.format_exc()[-1500:])])
        finally:
            labs.put(lab)
        return key, attack, time.monotonic() - began

    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            for number, result in enumerate(pool.map(one, attacked), 1):
                results.add(*result)
                if number % 100 == 0:
                    print(f"{number} of {len(attacked)} attacks, {len(results.failures)} with faults", flush=True)
    finally:
        for lab in made:
            lab.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=int, default=1000, metavar="N", help="number of attacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", action="append", choices=GROUPS, help="only this group; repeat it for more")
    parser.add_argument("--only", metavar="KEY", help="run one attack, such as flat-17, and keep its files")
    parser.add_argument("--json", type=Path, default=ROOT / "tools" / "bench" / "results" / "attacks.json")
    args = parser.parse_args()
    if args.only:
        folder = Path(tempfile.mkdtemp(prefix="vidstyle-attack-"))
        print(run([args.only], folder, keep=True).table())
        print(f"files are in {folder}")
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vidstyle-attacks-") as name:
        results = run(list(keys(args.attacks, args.seed, args.group)), Path(name))
    print(results.table())
    if args.group:
        return
    result = {
        "command": shlex.join(["python", "-m", "tools.bench.attacks", *sys.argv[1:]]),
        "machine": machine_details(len(os.sched_getaffinity(0))),
        "judge": subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.splitlines()[0],
        "seconds": round(time.monotonic() - began),
        "attacks": results.attacks.total(),
        "faults": len(results.failures),
        "kinds_of_faults": dict(sorted(results.kinds.items())),
        "groups": results.groups(),
        "failures": results.failures,
    }
    args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
