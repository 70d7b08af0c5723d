"""Limits of the system, full disks, folders that are gone or closed, and names that no file can have."""

from __future__ import annotations

import random
import resource
import subprocess
from collections.abc import Callable

from tests.support.helpers import command, environment
from tests.support.judge import Violation, snapshot
from tests.support.runs import DAMAGE, DISK, DONE, FAILED, MODEL, USAGE, RunResult
from tools.bench.attacks.lab import SECONDS, Attack, Lab

_CONVERT = ("in.mp4", "-o", "out.mp4", "-q")
_PAINT = ("paint", "photo.jpg", "--style", "painting.jpg", "-o", "out.png", "--steps", 1, "-q")
_ONE_STEP = ("--steps", 1, "--net-steps", 1)
REFUSED = (FAILED, USAGE, MODEL, DISK)


def attack(lab: Lab, chance: random.Random) -> Attack:
    """One kind of limit."""
    kind = chance.choices([*KINDS], [weight for weight, _ in KINDS.values()])[0]
    return KINDS[kind][1](lab, chance)


def _limited(lab: Lab, chance: random.Random) -> Attack:
    """Too little memory, address space, open files or file size."""
    for file in ("in.mp4", "photo.jpg", "painting.jpg"):
        lab.copy(file)
    arguments, output = chance.choice(
        ((_CONVERT, "out.mp4"), (_CONVERT, "out.mp4"), (("in.mp4", "--dry-run"), ""), (("styles",), ""), (_PAINT, "out.png"))
    )
    name, low, high = chance.choice(
        (
            ("DATA", 300 << 20, 1500 << 20),
            ("AS", 1 << 30, 5 << 30),
            ("NOFILE", 20, 80),
            ("FSIZE", 0, 20_000),
            ("STACK", 256 << 10, 8 << 20),
        )
    )
    value = chance.randrange(low, high)
    before = snapshot(lab.folder)
    if name == "FSIZE":
        run_result = lab.finish(lab.start(*arguments, file_size=value))
        codes: tuple[int, ...] = (DONE, DISK)
    else:
        run_result = lab.finish(lab.start(*arguments, limits={getattr(resource, f"RLIMIT_{name}"): value}))
        codes = (DONE, FAILED, MODEL, DISK)
    more = []
    if name in ("DATA", "AS") and run_result.code == FAILED and not any(w in run_result.stderr for w in ("memory", "thread")):
        more.append(Violation("wrong reason", run_result.stderr[-300:]))
    return lab.judge(
        f"RLIMIT_{name} {value}: {arguments[0]}", run_result, before, codes=codes, outputs=[output] if output else [], more=more
    )


def _prefixed(lab: Lab, prefix: list[str], arguments: tuple[object, ...]) -> RunResult:
    """A run in a process that another program starts."""
    process = subprocess.Popen(
        [*prefix, *command(*arguments)],
        cwd=lab.folder,
        env={**environment(), **lab.env},
        text=True,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run_result = lab.finish(process, SECONDS)
    return RunResult(run_result.code, run_result.stdout, run_result.stderr, args=tuple(map(str, arguments)))


def _full_disk(lab: Lab, chance: random.Random) -> Attack:
    """A file system of a few kilobytes for outputs, work or temporary files."""
    for file in ("in.mp4", "photo.jpg", "painting.jpg"):
        lab.copy(file)
    (lab.folder / "disk").mkdir()
    size = chance.choice((4, 4, 8, 16))
    name, arguments = chance.choice(
        [
            ("output", ("in.mp4", "-o", "disk/out.mp4", "-q")),
            ("resume", ("in.mp4", "-o", "disk/out.mp4", "--resume", "-q")),
            ("folder", (".", "--include", "*.mp4", "-o", "disk/", "-q")),
            ("paint", ("paint", "photo.jpg", "--style", "painting.jpg", "-o", "disk/out.png", "--steps", 1)),
            ("keyframes", ("keyframes", "in.mp4", "--style", "painting.jpg", "--work", "disk/work", *_ONE_STEP)),
            ("sheet", ("styles", "--sheet", "disk/sheet.png", "--image", "photo.jpg")),
            ("style", ("styles", "add", "net.onnx", "--name", "x")),
        ]
    )
    script = f"mount -t tmpfs -o size={size}k tmpfs disk; \"$@\"; code=$?; find disk -name '.*' >left; exit $code"
    if name == "style":
        (lab.folder / "net.onnx").write_bytes(_small_style())
        script = f'export VIDSTYLE_STYLES="$PWD/disk"; {script}'
    before = snapshot(lab.folder)
    run_result = _prefixed(lab, ["unshare", "--mount", "sh", "-c", script, "sh"], arguments)
    left = (lab.folder / "left").read_text().split()
    more = [Violation("hidden left", f"on the full disk: {left}")] if left and name != "resume" and name != "style" else []
    codes = (DISK,) if size <= 4 and name != "sheet" else (DISK, DONE)
    return lab.judge(f"full disk of {size} kB: {name}", run_result, before, codes=codes, keep=["left", "in."], more=more)


def _small_style() -> bytes:
    from vidstyle.styles.catalog import find_style

    return find_style("mosaic").read_bytes()


def _gone_folder(lab: Lab, chance: random.Random) -> Attack:
    """The current folder is deleted before the start."""
    source = lab.copy("in.mp4")
    arguments = chance.choice(
        [
            *(("in.mp4",), (".",), ("styles",), ("styles", "--json"), ("--help",), ("doctor", "--help"), (source,)),
            *((source, "-o", lab.folder / "out.mp4"), (source, "--dry-run"), (source, "-o", "out.mp4")),
            *(("paint", "a.jpg", "--style", "b.jpg"), ("styles", "add", "x.onnx")),
            ("train", "a.jpg", "--name", "x", "--photos", "."),
        ]
    )
    before = snapshot(lab.folder)
    run_result = _prefixed(lab, ["sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh"], arguments)
    outputs = [name for name in ("out.mp4", "in.mosaic.mp4") if run_result.code == DONE and (lab.folder / name).exists()]
    return lab.judge(f"deleted folder: {arguments}", run_result, before, codes=(DONE, *REFUSED), outputs=outputs)


def _closed_folder(lab: Lab, chance: random.Random) -> Attack:
    """Folders and files without permissions, for a user who is not almighty."""
    for name in ("in.mp4", "sub/other.mp4", "more/in.mp4"):
        lab.copy(name.rpartition("/")[2], name)
    (lab.folder / "out").mkdir()
    closed, mode, codes, arguments = chance.choice(
        [
            ("sub", 0, (FAILED, DAMAGE, DISK), (".", "--recursive", "-o", "out/", "-q")),
            ("sub", 0, (FAILED, DAMAGE, DISK), ("sub", "more", "-o", "out/", "-q")),
            ("sub/other.mp4", 0, (FAILED, DAMAGE, DISK), ("sub", "more", "-o", "out/", "-q")),
            ("in.mp4", 0, (FAILED, DISK), ("in.mp4", "-o", "out/out.mp4", "-q")),
            ("out", 0o555, (DISK,), ("in.mp4", "-o", "out/out.mp4", "-q")),
            ("out", 0, (DISK, FAILED), ("in.mp4", "-o", "out/out.mp4", "-q")),
            ("out", 0o555, (DISK,), ("in.mp4", "-o", "out/out.mp4", "--resume", "-q")),
            ("out", 0o555, (DISK,), ("keyframes", "in.mp4", "--style", "mosaic", "-o", "x.mp4", "--work", "out/work", "-q")),
        ]
    )
    before = snapshot(lab.folder)
    (lab.folder / closed).chmod(mode)
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    run_result = _prefixed(lab, prefix, arguments)
    (lab.folder / closed).chmod(0o755)
    outputs = (
        [p.relative_to(lab.folder).as_posix() for p in (lab.folder / "out").rglob("*.mp4")] if run_result.code == DAMAGE else []
    )
    keep = ["out/in", "out/other"]  # files that could be converted although others could not
    return lab.judge(f"{closed} has mode {mode:o}: {arguments[0]}", run_result, before, codes=codes, outputs=outputs, keep=keep)


KINDS: dict[str, tuple[float, Callable[[Lab, random.Random], Attack]]] = {
    "limits": (3, _limited),
    "full disk": (2, _full_disk),
    "deleted folder": (1, _gone_folder),
    "closed folder": (1.5, _closed_folder),
}
