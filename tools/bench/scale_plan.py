"""A plan on paper: the time for many hours of video on 1, 8 and 64 GPUs, the bottlenecks, and the price.

    python -m tools.bench.scale_plan [--hours 1000] [--net-fps 500 --net-fps 1000] [--price 2] ...

Measured (part `tasks` of tools/bench/results/cluster.json, by tools/bench/cluster.py, on the CPU of that machine): CPU time of
decoding, of detecting cuts, of encoding and of the conversion before it, for a frame each; survey and join; the bytes of the
output. Assumed, and parameters here: everything about GPUs, because none was available; the properties of the videos; the price.

A worker has one GPU and some cores. It decodes, stylizes and encodes concurrently, so stylizing a frame takes

    stylize = max(1 / network fps, (decode + thumbnail + encode) / cores, with a GPU's encoder 1 / its fps)

where with a GPU's encoder only the conversion is left of `encode` for the CPU. At the beginning of each shot, while nothing is
stylized, its first four seconds are decoded, eight frames are measured, and a session is opened:

    shot = (4 s * rate * decode / cores + 8 / network fps + session) / frames of a shot

A video that is divided is scanned first, `scan = (decode + thumbnail) / cores`, and joined by the driver; one that is not divided
is joined by its worker. So

    divided: frame = scan + stylize + shot, and the driver's frames * join at the same time
    whole:   frame = stylize + shot + join

and everything takes frames * frame / GPUs, if enough drivers share the folder that joining and their networks are no bottleneck.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, fields
from typing import Any

from tools.bench.measurement import RESULTS

SIZE = "1920x1080"
LOOKED_AHEAD_SECONDS, SHOT_FRAMES = 4.0, 8
"""vidstyle.conversion.convert.SHOT_SECONDS and SHOT_FRAMES: the frames that a shot is measured from."""

READS_OF_INPUT = {"survey": 1, "scan": 1, "stylize": 1, "audio and the rest": 1}
"""How often all bytes of the input are read, without the beginnings of shots."""
WRITES_OF_OUTPUT = {"segments": 1, "joined": 1, "index moved to the front": 1}
READS_OF_OUTPUT = {"segments": 1, "index moved to the front": 1, "verified": 1}


@dataclass(frozen=True)
class Assumed:
    """Values that were not measured."""

    hours: float = 1000.0
    video_hours: float = 1.0
    rate: float = 25.0
    input_mbit: float = 8.0
    """A second, of the videos."""
    shot_seconds: float = 6.0
    net_fps: tuple[float, ...] = (500.0, 1000.0)
    """Frames a second of the network alone on one GPU at 1920x1080."""
    session_seconds: float = 0.2
    """To open a session on a GPU for a shot."""
    gpu_fps: float = 500.0
    """Frames a second of a GPU's encoder at 1920x1080, where the GPU has one (A100 and H100 do not)."""
    cores: tuple[int, ...] = (4, 16)
    """For each GPU; vidstyle asks a cluster for 4."""
    gpus: tuple[int, ...] = (1, 8, 64)
    driver_gbit: float = 10.0
    """A second, of a driver's network."""
    price: float = 2.0
    """Dollars for an hour of one GPU with its cores."""

    @property
    def frames(self) -> float:
        return self.hours * 3600 * self.rate

    @property
    def videos(self) -> float:
        return self.hours / self.video_hours


@dataclass(frozen=True)
class Row:
    """One way to equip workers."""

    net_fps: float
    cores: int
    gpu: bool
    stylize: float
    """Seconds a frame, as the following."""
    shot: float
    scan: float
    join: float
    transfer: float
    """From the worker to the driver."""
    bound: str
    """The bottleneck of stylizing."""

    @property
    def divided(self) -> float:
        """Seconds of a worker for a frame of a divided video."""
        return self.scan + self.stylize + self.shot

    @property
    def whole(self) -> float:
        """The same for a video that is not."""
        return self.stylize + self.shot + self.join


def rows(tasks: dict[str, Any], assumed: Assumed) -> list[Row]:
    """All ways, from the measured part `tasks` of the results."""
    video = tasks["videos"][SIZE]
    cpu = {stage: ms / 1000 for stage, ms in video["cpu_ms_a_frame"].items()}
    join = video["fits"]["join"]["seconds_a_frame"] + video["fits"]["join"]["seconds"] * assumed.videos / assumed.frames
    transfer = 8 * video["bytes_out"] / video["frames"] / (assumed.driver_gbit * 1e9)
    ahead = min(LOOKED_AHEAD_SECONDS, assumed.shot_seconds) * assumed.rate * cpu["decode"]
    found = []
    for net in assumed.net_fps:
        for cores, gpu in (*((c, False) for c in assumed.cores), (max(assumed.cores), True)):
            limits = {
                "the network": 1 / net,
                "decoding and encoding": (cpu["decode"] + cpu["thumbnail"] + cpu["convert" if gpu else "encode"]) / cores,
            }
            if gpu:
                limits["the GPU's encoder"] = 1 / assumed.gpu_fps
            bound = max(limits, key=lambda what: limits[what])
            shot = (ahead / cores + SHOT_FRAMES / net + assumed.session_seconds) / (assumed.shot_seconds * assumed.rate)
            scan = (cpu["decode"] + cpu["thumbnail"]) / cores
            found.append(Row(net, cores, gpu, limits[bound], shot, scan, join, transfer, bound))
    return found


def volumes(tasks: dict[str, Any], assumed: Assumed) -> dict[str, float]:
    """Terabytes: of the input, of the output, and all that is read and written."""
    video = tasks["videos"][SIZE]
    input = assumed.hours * 3600 * assumed.input_mbit / 8 / 1e6
    output = assumed.frames * video["bytes_out"] / video["frames"] / 1e12
    shots = min(LOOKED_AHEAD_SECONDS, assumed.shot_seconds) / assumed.shot_seconds
    return {
        "input": input,
        "output": output,
        "read": input * (sum(READS_OF_INPUT.values()) + shots) + output * sum(READS_OF_OUTPUT.values()),
        "written": output * sum(WRITES_OF_OUTPUT.values()),
    }


def plan_table(tasks: dict[str, Any], assumed: Assumed = Assumed()) -> str:
    """The plan in Markdown."""
    largest, moved = max(assumed.gpus), volumes(tasks, assumed)
    hours = " | ".join(f"hours on {n}" for n in assumed.gpus)
    head = f"network, fps | cores a GPU | encoder | stylizes, fps | bottleneck | {hours} | whole videos, hours on {largest}"
    head += f" | drivers on {largest} | storage on {largest}, Gbit/s | GPU-hours | cost"
    lines = [f"| {head} |", "| ---: | ---: | --- | ---: | --- |" + " ---: |" * (len(assumed.gpus) + 5)]
    for row in rows(tasks, assumed):
        gpu_hours = assumed.frames * row.divided / 3600
        took = [gpu_hours / n for n in assumed.gpus]
        drivers = math.ceil(assumed.frames * max(row.join, row.transfer) / 3600 / (gpu_hours / largest))
        rate = (moved["read"] + moved["written"]) * 8e3 / (3600 * gpu_hours / largest)
        cells = [
            f"{row.net_fps:.0f}",
            str(row.cores),
            "GPU" if row.gpu else "CPU",
            f"{1 / (row.stylize + row.shot):.0f}",
            row.bound,
        ]
        cells += [_hours(t) for t in took] + [_hours(assumed.frames * row.whole / 3600 / largest), str(drivers)]
        cells += [f"{rate:.1f}", f"{gpu_hours:,.0f}", f"${gpu_hours * assumed.price:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _assumptions(tasks, assumed, moved)])


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"


def _assumptions(tasks: dict[str, Any], assumed: Assumed, moved: dict[str, float]) -> str:
    """The measured and assumed values of the table."""
    video, machine = tasks["videos"][SIZE], tasks["machine"]
    cpu = video["cpu_ms_a_frame"]
    stages = ", ".join(f"{stage} {cpu[stage]:.1f}" for stage in ("decode", "thumbnail", "convert", "encode"))
    join = 1000 * video["fits"]["join"]["seconds_a_frame"]
    net = " or ".join(f"{fps:.0f}" for fps in assumed.net_fps)
    per_input, per_output = sum(READS_OF_INPUT.values()), sum(READS_OF_OUTPUT.values())
    made_mbit = 8 * video["bytes_out"] / video["frames"] * assumed.rate / 1e6
    sentences = (
        f"{assumed.hours:,.0f} hours of {SIZE} at {assumed.rate:g} fps, {assumed.frames / 1e6:,.0f} million frames, in videos of "
        f"{assumed.video_hours:g} h. Printed by `python -m tools.bench.scale_plan`.",
        f"**Measured**, on {machine['cores']} cores of {machine['cpu']}: CPU milliseconds per frame ({stages}), join {join:.2f} "
        f"ms per frame, output {made_mbit:.0f} Mbit/s.",
        f"**Assumed**, because no GPU was available: {net} frames per second of the network alone, {assumed.session_seconds:g} "
        f"s to open a session for a shot, shots of {assumed.shot_seconds:g} s, {assumed.gpu_fps:.0f} fps of a GPU's encoder, "
        f"input of {assumed.input_mbit:g} Mbit/s, ${assumed.price:g} for a GPU-hour, cores as fast as the measured ones, "
        f"{assumed.driver_gbit:g} Gbit/s to a driver.",
        f"Storage: {moved['input']:.1f} TB come in, {moved['output']:.1f} TB go out, {moved['read']:.0f} TB are read (the input "
        f"{per_input} times and the beginnings of shots once more, the output {per_output} times) and {moved['written']:.0f} TB "
        "written.",
    )
    return " ".join(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in fields(Assumed):
        several = isinstance(option.default, tuple)
        kind = type(option.default[0] if several else option.default)  # type: ignore[index]
        name = f"--{option.name.replace('_', '-')}"
        parser.add_argument(name, dest=option.name, type=kind, action="append" if several else "store", help=str(option.default))
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args()).items() if v is not None
    }
    tasks = json.loads((RESULTS / "cluster.json").read_text("utf-8"))["tasks"]
    print(plan_table(tasks, Assumed(**given)))


if __name__ == "__main__":
    main()
