"""The cost of safety: whole conversions with and without safety measures, in turns.

    python -m tools.bench.care [--clip samples/boat.mp4] [--style mosaic] [--rounds 5] [--output tools/bench/results/care.json]

With: like `vidstyle CLIP --style STYLE`. Without: the output is not read back, nothing is flushed to the disk, the structure
of the input is not checked, and no lock is taken. --resume is also compared with the run without. Times are those of the
conversion after the model was loaded; the fastest round counts, because other load only adds to the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import av

from tools.bench.speed import ROOT
from vidstyle.conversion.convert import convert
from vidstyle.core.hardware import machine_details, usable_cores
from vidstyle.core.options import ConvertOptions, StyleOptions
from vidstyle.stylizers import load_stylizer

BARE = {
    "vidstyle.sinks.video.verify": lambda *args: None,
    "vidstyle.sinks.publish.fsync": lambda path: None,
    "vidstyle.sinks.publish._lock": lambda handle: False,
    "vidstyle.sources.video.missing_bytes": lambda path: 0,
}


@contextmanager
def bare() -> Iterator[None]:
    """Disable the safety measures."""
    patches = [mock.patch(name, replaced) for name, replaced in BARE.items()]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def lengthened(clip: Path, folder: Path, times: int) -> Path:
    """A longer video: the video of `clip` repeated `times` times."""
    path = folder / "long.mp4"
    with av.open(str(clip)) as old, av.open(str(path), "w") as new:
        source = old.streams.video[0]
        copy = new.add_stream_from_template(source, opaque=True)
        packets = [p for p in old.demux(source) if p.size]
        length = max(p.pts + p.duration for p in packets)  # type: ignore[operator]
        for number in range(times):
            for packet in packets:
                repeated = av.Packet(bytes(packet))
                repeated.time_base, repeated.is_keyframe = packet.time_base, packet.is_keyframe
                repeated.pts, repeated.dts = packet.pts + number * length, packet.dts + number * length  # type: ignore[operator]
                repeated.duration, repeated.stream = packet.duration, copy
                new.mux(repeated)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ROOT / "samples" / "boat.mp4")
    parser.add_argument("--style", default="mosaic")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=8, help="number of repetitions of the clip")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "care.json")
    args = parser.parse_args()
    stylizer = load_stylizer(StyleOptions(args.style))
    seconds: dict[str, list[float]] = {"without": [], "with": [], "resumable": []}
    frames = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = lengthened(args.clip, folder, args.times)

        def run(options: ConvertOptions) -> float:
            nonlocal frames
            output = folder / "out.mp4"
            began = time.perf_counter()
            frames = convert(str(clip), output, stylizer, options).frames
            elapsed = time.perf_counter() - began
            output.unlink()
            return elapsed

        options = ConvertOptions(style=StyleOptions(args.style))
        run(options)
        for _ in range(args.rounds):
            with bare():
                seconds["without"].append(run(options))
            seconds["with"].append(run(options))
            seconds["resumable"].append(run(ConvertOptions(style=StyleOptions(args.style), resume=True)))
    fastest = {kind: min(times) for kind, times in seconds.items()}
    found = {
        "command": f"python -m tools.bench.care --style {args.style} --times {args.times} --rounds {args.rounds}",
        "machine": machine_details(usable_cores()),
        "frames": frames,
        "seconds": {kind: [round(s, 3) for s in times] for kind, times in seconds.items()},
        "care_costs": round(fastest["with"] / fastest["without"] - 1, 4),
        "resumable_costs": round(fastest["resumable"] / fastest["without"] - 1, 4),
    }
    args.output.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
