"""Writes the tables of README.md from the committed results; with --check, only tells whether they are up to date."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = (
    ("vidstyle, compact mosaic", "compact"),
    ("full TransformerNet, ONNX Runtime, instance norms", "full_onnxruntime"),
    ("full TransformerNet, ONNX Runtime, norms folded", "full_onnxruntime_folded"),
    ("full TransformerNet, torch eager", "full_torch_eager"),
)


def speed_table(bench: dict[str, Any]) -> str:
    """The table of `tools/bench.py`'s results."""
    machine, sizes = bench["machine"], bench["sizes"]
    head = [f"{size} {what}" for size in sizes for what in ("net, ms", "end to end, fps", "ours is faster by")]
    lines = ["| | " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(head)]
    for label, key in ROWS:
        cells = []
        for figures in sizes.values():
            ours, its = figures["end_to_end"]["compact"], figures["end_to_end"][key]
            cells += [f"{figures['net_alone'][key]:.1f}", f"{its:.1f}", "" if key == "compact" else f"{ours / its:.1f}x"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    memory, ratios = bench["peak_memory_1280x720"], bench["ratios"]
    shares = ", ".join(f"{ratios[size]['total_wall_over_cpu_share']:.2f} at {size}" for size in sizes)
    peaks = " and ".join(f"{value:.0f} MiB for {key.replace('_', ' ')}" for key, value in memory.items())
    lines += [
        "",
        f"Measured by `{bench['command']}` on {machine['cores']} cores of {machine['cpu']} "
        f"(ONNX Runtime {machine['onnxruntime']}, torch {machine['torch']}). Wall time of the whole over the CPU time of "
        f"decoding, net and encoding measured alone, shared by the cores: {shares}. Peak memory at 1280x720: {peaks}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    before = readme.read_text("utf-8")
    table = speed_table(json.loads((ROOT / "tools" / "results" / "bench.json").read_text("utf-8")))
    pattern = re.compile(r"(<!-- speed -->\n).*?(\n<!-- /speed -->)", re.DOTALL)
    after = pattern.sub(lambda m: m[1] + table + m[2], before)
    if args.check and after != before:
        raise SystemExit("README.md is not what the results say: run python tools/readme_tables.py")
    readme.write_text(after, "utf-8")


if __name__ == "__main__":
    main()
