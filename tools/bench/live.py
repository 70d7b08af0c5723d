"""`vidstyle live` as users run it: a real window on a virtual screen, a network camera, keys, for ten minutes.

    python -m tools.bench.live [--minutes 10] [--size 640x360] [--fps 30] [--output tools/bench/results/live.json]

Needs Xvfb and xdotool. The camera (tests/support/mjpeg_camera.py, playing samples/boat.mp4), the virtual screen and the window
share the cores of the machine, so the work of a real screen and camera is included. Latency is the time from the arrival of a
frame to its display in the window, as in the overlay. The style is switched every ten seconds; a second with a switch must show
as many images as any other.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.mjpeg_camera import MjpegCamera, clip_images, encoded
from tests.support.virtual_screen import virtual_screen
from vidstyle.core.hardware import machine_details
from vidstyle.styles.catalog import all_styles

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "boat.mp4"
SWITCH_SECONDS = 10
STARTS = 5
WARM_UP_SECONDS = 2


class Live:
    """A running `vidstyle live` and its events."""

    def __init__(self, url: str, display: str, folder: str) -> None:
        self._env = {**os.environ, "DISPLAY": display}
        command = [sys.executable, "-m", "vidstyle", "live", url, "--allow-network", "--microphone", "none", "--progress", "json"]
        self.began = time.monotonic()
        self.process = subprocess.Popen([*command, "--folder", folder], env=self._env, stderr=subprocess.PIPE, text=True)
        self.events: queue.SimpleQueue[tuple[float, dict[str, Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.put((time.monotonic(), json.loads(line)))

    def wait_for(self, event: str) -> tuple[float, dict[str, Any]]:
        """Time of the next event of this kind, and the event."""
        while True:
            at, fields = self.events.get(timeout=60)
            if fields["event"] == event:
                return at, fields

    def key(self, name: str) -> None:
        """Type a key in the window."""
        search = ["xdotool", "search", "--onlyvisible", "--name", "^vidstyle$", "key", "--window", "%1", name]
        subprocess.run(search, env=self._env, check=True, capture_output=True)

    def resident_mib(self) -> float:
        """Resident memory of the window's process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def seconds_to_first_image(url: str, display: str, folder: str) -> list[float]:
    """Time from the start of the command to the first image on the screen."""
    found = []
    for _ in range(STARTS):
        run = Live(url, display, folder)
        at, _ = run.wait_for("first")
        found.append(round(at - run.began, 3))
        run.key("q")
        run.process.wait(30)
    return found


def long_run(url: str, display: str, folder: str, minutes: float) -> dict[str, Any]:
    """Results of a run with a switch of style every ten seconds, without the first seconds, in which the height is chosen."""
    run = Live(url, display, folder)
    run.wait_for("first")
    seconds, memory = [], []
    for second in range(WARM_UP_SECONDS + round(minutes * 60)):
        if second >= WARM_UP_SECONDS and second % SWITCH_SECONDS == 0:
            run.key("n")
        _, progress = run.wait_for("progress")
        if second >= WARM_UP_SECONDS:
            seconds.append({**progress, "switch": second % SWITCH_SECONDS == 0})
            if second % SWITCH_SECONDS == SWITCH_SECONDS // 2:
                memory.append(round(run.resident_mib(), 1))
        if second % 60 == 59:
            print(f"{second + 1} s: {progress['fps']} fps, {memory[-1]} MiB", flush=True)
    run.key("q")
    _, total = run.wait_for("total")
    code = run.process.wait(30)
    assert code == 0, code
    plain, switches = ([s for s in seconds if s["switch"] == kind] for kind in (False, True))
    third = len(memory) // 3
    return {
        "seconds": len(seconds),
        "fps": round(sum(s["shown"] for s in seconds) / sum(s["seconds"] for s in seconds), 2),
        "fps_worst_second": min(s["fps"] for s in seconds),
        "inference_heights": sorted({s["height"] for s in seconds}),
        "latency_median_ms": round(1000 * total["latency_median"]),
        "latency_p99_ms": round(1000 * total["latency_p99"]),
        "longest_gap_ms": round(1000 * max(s["longest_gap"] for s in seconds)),
        "camera_frames": sum(s["captured"] for s in seconds),
        "shown": sum(s["shown"] for s in seconds),
        "style_switches": len(switches),
        "fps_in_seconds_with_a_switch": round(statistics.mean(s["fps"] for s in switches), 2),
        "fps_in_other_seconds": round(statistics.mean(s["fps"] for s in plain), 2),
        "longest_gap_with_a_switch_ms": round(1000 * max(s["longest_gap"] for s in switches)),
        "frames_not_shown_with_a_switch": sum(s["missed"] for s in switches),
        "frames_not_shown_otherwise": sum(s["missed"] for s in plain),
        "memory_mib": memory,
        "memory_last_third_over_first": round(statistics.mean(memory[-third:]) / statistics.mean(memory[:third]), 3)
        if third
        else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "live.json")
    args = parser.parse_args()
    width, height = (int(n) for n in args.size.split("x"))
    jpegs = encoded(clip_images(SAMPLE, width, height))
    with (
        virtual_screen(1280, 800) as display,
        closing(MjpegCamera(jpegs, args.fps)) as camera,
        tempfile.TemporaryDirectory() as folder,
    ):
        starts = seconds_to_first_image(camera.url, display, folder)
        print("first image after", starts, flush=True)
        results = long_run(camera.url, display, folder, args.minutes)
    result = {
        "command": shlex.join(["python", "-m", "tools.bench.live", *sys.argv[1:]]),
        "machine": machine_details(len(os.sched_getaffinity(0))),
        "camera": {"size": args.size, "fps": args.fps},
        "styles": sorted(all_styles()),
        "seconds_to_first_image": starts,
        **results,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "memory_mib"}, indent=1))


if __name__ == "__main__":
    main()
