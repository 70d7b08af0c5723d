"""Large frames in small files, and small budgets of memory: within the budget or refused with the number, never a crash."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.judge import Violation, snapshot
from tests.support.runs import DONE, FAILED
from tools.bench.attacks.images import png
from tools.bench.attacks.lab import Attack, Lab

BASE_MIB = 600
"""What the programs and the network take besides the budget for frames."""
SECONDS = 150
PHOTOS = ((20_000, 20_000), (16_384, 8_640), (12_000, 12_000), (40_000, 1_000), (7_680, 4_320), (1_000, 30_000))
VIDEOS = ((16_384, 8_640), (8_192, 4_320), (7_680, 4_320))


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Run a command on a large frame with a budget, under a limit that stops this machine from swapping."""
    kind = chance.choice(("photo", "photo", "video", "paint", "sheet", "mask", "style image", "dry run"))
    gib = chance.choice((1, 2, 2, 3))
    lab.copy("photo.jpg")
    lab.copy("in.mp4")
    if kind == "video":
        size = chance.choice(VIDEOS)
        path = lab.keep(f"video of {size}", lambda: _video(lab.root, *size))
        (lab.folder / "large.mkv").symlink_to(path)
    else:
        size = chance.choice(PHOTOS)
        (lab.folder / "large.png").write_bytes(png(*size, channels=chance.choice((1, 3))))
    budget = ("--memory", f"{gib}G")
    height = ("--height", chance.choice((240, 480))) if chance.random() < 0.7 else ()
    arguments: tuple[object, ...]
    arguments, output = {
        "photo": (("large.png", "-o", "out.png", *budget, *height), "out.png"),
        "video": (("large.mkv", "-o", "out.mp4", *budget, *height), "out.mp4"),
        "paint": (("paint", "large.png", "--style", "photo.jpg", "-o", "out.png", "--steps", 1, "--memory", gib), "out.png"),
        "sheet": (("styles", "--sheet", "out.png", "--image", "large.png", "--height", 240), "out.png"),
        "mask": (("in.mp4", "--mask", "large.png", "-o", "out.mp4", *budget), "out.mp4"),
        "style image": (
            ("paint", "photo.jpg", "--style", "large.png", "-o", "out.png", "--steps", 1, "--memory", gib),
            "out.png",
        ),
        "dry run": (("large.png", "--dry-run", *budget), ""),
    }[kind]
    before = snapshot(lab.folder)
    process = lab.start(*arguments)
    with _peak(process) as peak:
        run_result = lab.finish(process, SECONDS)
    more = []
    limit = gib * 1024 + BASE_MIB
    if kind != "sheet" and peak[0] > limit:
        more.append(Violation("memory", f"{peak[0]:.0f} MiB, {limit} allowed"))
    refused = run_result.code == FAILED
    if refused and not any(word in run_result.stderr for word in ("memory", "pixels", "too large", "the image's shape")):
        more.append(Violation("no reason", run_result.stderr[-300:]))
    recipe = f"{kind} of {size[0]}x{size[1]}, {' '.join(map(str, arguments))}"
    outputs = [output] if output else []
    return lab.judge(recipe, run_result, before, codes=(DONE, FAILED), outputs=outputs, more=more)


@contextlib.contextmanager
def _peak(process: subprocess.Popen[str]) -> Iterator[list[float]]:
    """The peak of a process's memory in MiB, read until it ends."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak[0] = max(peak[0], int(status.split("VmHWM:")[1].split()[0]) / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _video(folder: Path, width: int, height: int) -> Path:
    """Two frames of one colour, in a few kilobytes."""
    path = folder / f"{width}x{height}.mkv"
    source = f"color=gray:s={width}x{height}:r=10:d=0.2"
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *encode], check=True)
    return path
