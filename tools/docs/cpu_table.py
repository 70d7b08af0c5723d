"""The tables of tools/bench/cpu.py's results: what each step brings on a CPU."""

from __future__ import annotations

from typing import Any


def cpu_tables(cpu: dict[str, Any]) -> str:
    """Every part's table, and where it was measured."""
    machine = cpu["machine"]
    return "\n\n".join(
        [
            _graphs(cpu["graphs"]),
            _memory(cpu["memory"]),
            _learning(cpu["learning"]),
            _concurrency(cpu["concurrency"]),
            _backends(cpu["backends"]),
            _precisions(cpu["precisions"]),
            f"On one thread the network does {cpu['arithmetic']['net']:.0f} billion multiply-adds a second; a matrix product "
            f"of ONNX Runtime's, 2048 by 2048, does {cpu['arithmetic']['matrix product']:.0f}.",
            f"Measured by `{cpu['command']}` on {machine['cores']} cores of {machine['cpu']} "
            f"({', '.join(machine['simd'] or [])}; ONNX Runtime {machine['onnxruntime']}, torch {machine['torch']}); medians of "
            f"{cpu['rounds']} rounds in which all take turns.",
        ]
    )


def _graphs(found: dict[str, Any]) -> str:
    lines = ["| network, one thread | " + " | ".join(f"{size}, ms" for size in found) + " | levels off, mean and most |"]
    lines.append("| --- |" + " ---: |" * (len(found) + 1))
    first = next(iter(found.values()))
    for name in first["ms"]:
        off = first["levels_off"].get(name)
        cells = [f"{figures['ms'][name]:.1f}" for figures in found.values()]
        lines.append(f"| {name} | " + " | ".join([*cells, "" if off is None else f"{off[0]:.1f}, {off[1]}"]) + " |")
    return "\n".join(lines)


def _memory(found: dict[str, Any]) -> str:
    lines = ["| memory of ONNX Runtime's sessions, 3840x2160 | ms per image | most, MiB |", "| --- | ---: | ---: |"]
    return "\n".join(lines + [f"| {name} | {f['ms']} | {f['peak_mib']} |" for name, f in found.items()])


def _learning(found: dict[str, Any]) -> str:
    names = next(iter(found.values()))
    lines = ["| a shot's statistics from 8 images | " + " | ".join(f"{size}, ms" for size in found) + " |"]
    lines.append("| --- |" + " ---: |" * len(found))
    return "\n".join(lines + [f"| {n} | " + " | ".join(f"{f[n]:.0f}" for f in found.values()) + " |" for n in names])


def _concurrency(found: dict[str, Any]) -> str:
    (figures,) = found.values()
    lines = ["| images at once | threads each | images per batch | frames per second, file to file |", "| ---: |" + " ---: |" * 3]
    return "\n".join(lines + [f"| {' | '.join(way.split('x'))} | {fps:.1f} |" for way, fps in figures.items()])


def _backends(found: dict[str, Any]) -> str:
    first = next(iter(found.values()))
    lines = ["| all cores | " + " | ".join(f"{size}, ms per image" for size in found) + " |", "| --- |" + " ---: |" * len(found)]
    lines += [f"| {name} | " + " | ".join(f"{f['ms'][name]:.1f}" for f in found.values()) + " |" for name in first["ms"]]
    mean, most = first["levels_off"]
    return "\n".join([*lines, "", f"The two differ by {mean:.1f} levels of 255 in the mean, {most} at most."])


def _precisions(found: dict[str, Any]) -> str:
    lines = [
        "| torch, one thread, 640x360; instructions | float32, ms per image | bfloat16, ms per image |",
        "| --- | ---: | ---: |",
    ]
    return "\n".join(lines + [f"| {name} | {f['float32']:.1f} | {f['bfloat16']:.1f} |" for name, f in found.items()])
