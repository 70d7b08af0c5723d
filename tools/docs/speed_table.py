"""Tables of tools/bench/speed.py's results: vidstyle beside its peers, what it costs, and how the cost grows."""

from __future__ import annotations

from typing import Any

ROWS = ("onnxruntime", "onnxruntime_folded", "torch_eager", "opencv_dnn")


def peers_table(bench: dict[str, Any]) -> str:
    """Frames per second of whole conversions beside the peers, for the README."""
    sizes = bench["sizes"]
    head = [f"{size}, {what}" for size in sizes for what in ("frames per second", "speedup of vidstyle")]
    lines = ["| | " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(head)]
    for label, of_sizes in (("", sizes), (", `--backend torch`", bench.get("in_torch", {}))):
        cells = [cell for figures in of_sizes.values() for cell in (f"{figures['fps']:.1f}", "")]
        if cells:
            lines.append(f"| **vidstyle**, {bench['style']}{label} | " + " | ".join(cells) + " |")
    for peer in (bench["peers"][name] for name in ROWS if name in bench.get("peers", {})):
        cells = [cell for size in sizes for cell in _peer_cells(peer[size])[1:]]
        lines.append(f"| {peer['label']} | " + " | ".join(cells) + " |")
    machine = bench["machine"]
    return "\n".join([*lines, "", f"Measured by `{bench['command']}` on {machine['cores']} cores of {machine['cpu']}."])


def speed_table(bench: dict[str, Any]) -> str:
    """The table of `tools/bench/speed.py`'s results."""
    machine, sizes = bench["machine"], bench["sizes"]
    head = [f"{size} {what}" for size in sizes for what in ("network, ms", "end to end, fps", "vidstyle is faster by")]
    lines = ["| | " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(head)]
    for label, of_sizes in (("", sizes), (", --backend torch", bench.get("in_torch", {}))):
        ours = [cell for figures in of_sizes.values() for cell in (f"{figures['net_ms']:.1f}", f"{figures['fps']:.1f}", "")]
        if ours:
            lines.append(f"| vidstyle, {bench['style']}{label} | " + " | ".join(ours) + " |")
    peers = bench.get("peers", {})
    for peer in (peers[name] for name in ROWS if name in peers):
        cells = [cell for size in sizes for cell in _peer_cells(peer[size])]
        lines.append(f"| {peer['label']} | " + " | ".join(cells) + " |")

    lines += [
        "",
        "| vidstyle | over real time | headroom | first frame after | peak memory | wall over CPU time per core |",
        "| --- |" + " ---: |" * 5,
        *(f"| {size} | " + " | ".join(_own_cells(figures)) + " |" for size, figures in sizes.items()),
        "",
        f"Measured by `{bench['command']}` on {machine['cores']} cores of {machine['cpu']} "
        f"(ONNX Runtime {machine['onnxruntime']}, torch {machine['torch']}, OpenCV {machine['opencv']}); medians of rounds in "
        "which all take turns. Headroom is the time of decoding and encoding the same stylized frames, without the network, over "
        "the time of all together. The last column is the wall time of all together over the processor time of decoding, network "
        "and encoding, each alone, divided by the cores. The first frame counts from the start of the process; `vidstyle --help` "
        f"takes {bench['seconds_to_help']:.2f} s.",
    ]
    return "\n".join(lines + (_sweep_sentences(bench["sweep"]) if "sweep" in bench else []))


def limits(bench: dict[str, Any]) -> str:
    """Which stage takes how much of the processor's time, and how busy it is kept."""
    cores, sentences = bench["machine"]["cores"], []
    for size, figures in bench["sizes"].items():
        stages = figures["stages"]
        alone = sum(stages[stage]["cpu"] for stage in ("decode", "net", "encode"))
        net, encode = (100 * stages[stage]["cpu"] / alone for stage in ("net", "encode"))
        total = stages["total"]
        busy = 100 * total["cpu"] / (cores * total["wall"])
        sentences.append(
            f"At {size} the network takes {net:.0f} % of that time and the encoder (x264, `veryfast`) {encode:.0f} %; all "
            f"together take {total['cpu'] / alone:.2f} times as much processor time as the stages by themselves, and keep the "
            f"cores busy {busy:.0f} % of the time."
        )
    return "\n".join([*sentences, "", f"Measured by `{bench['command']}`, as the table of benchmarks.md."])


def _own_cells(figures: dict[str, Any]) -> list[str]:
    memory = figures["peak_memory_mib"]
    return [
        f"{figures['real_time']:.2f}x",
        f"{figures['headroom']:.2f}",
        f"{figures['seconds_to_first_frame']:.2f} s",
        "-" if memory is None else f"{memory:.0f} MiB",
        f"{figures['total_wall_over_cpu_time_per_core']:.2f}",
    ]


def _peer_cells(figures: dict[str, Any]) -> list[str]:
    if "trouble" in figures:
        return ["does not run", "", ""]
    return [f"{figures['net_ms']:.1f}", f"{figures['fps']:.2f}", f"{figures['ours_faster_by']:.1f}x"]


def _sweep_sentences(sweep: dict[str, Any]) -> list[str]:
    """How cost grows with pixels and frames, and what memory it takes."""
    found = []
    for what, runs, power in (
        ("pixels", sweep["sizes"], sweep["exponent_pixels"]),
        ("frames", sweep["lengths"], sweep["exponent_frames"]),
    ):
        names = list(runs)
        figures = ", ".join(f"{run['fps']:.1f} fps and {_mib(run['peak_memory_mib'])} ({name})" for name, run in runs.items())
        found += ["", f"From {names[0]} to {names[-1]} time grows with {what} to the power of {power:.2f}: {figures}."]
    found[-1] += " (Least squares of the logarithms; nothing is subtracted.)"
    return found


def _mib(memory: float | None) -> str:
    return "unknown memory" if memory is None else f"{memory:.0f} MiB"
