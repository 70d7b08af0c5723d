"""Names that no file can have, the user's own files with names that vidstyle uses, and catalogues that are none."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from tests.support.judge import snapshot
from tests.support.runs import DISK, DONE, FAILED, MODEL, USAGE
from tools.bench.attacks.lab import Attack, Lab

_CONVERT = ("in.mp4", "-o", "out.mp4", "-q")
REFUSED = (FAILED, USAGE, MODEL, DISK)


def attack(lab: Lab, chance: random.Random) -> Attack:
    """One kind of name."""
    kind = chance.choices([*KINDS], [weight for weight, _ in KINDS.values()])[0]
    return KINDS[kind][1](lab, chance)


_NAMES = (
    *("x" * 256 + ".mp4", "é" * 200 + ".mp4", "y/" * 2500 + "a.mp4", "a\0b.mp4", "\0", "http://[::1/x.mp4", "http://", "://"),
    *("concat:in.mp4|in.mp4", "file:in.mp4", "pipe:0", "data:video/mp4;base64,AAAA", "/dev/zero", "/dev/full", "/dev/null"),
    *("/proc/self/mem", "/proc/self/maps", "fifo", "loop", "dangling", "a:b.mp4", "subfile,,start,0,end,9,,:in.mp4"),
    *("crypto:in.mp4", "~/in.mp4", "%s%n.mp4", "{stem}{x}.mp4", "{0.__class__}.mp4", "in.mp4/", "in.mp4/x.mp4", "con.mp4"),
    *(" ", ".", "", "\udcff\udcfe.mp4", "a\nb.mp4", "*.mp4", "-", "--", "@in.mp4", "tcp://127.0.0.1:1"),
    *("rtsp://127.0.0.1:1/x", "https://127.0.0.1:1/x.mp4", "x" * 250 + ".mp4"),
)


def _strange_name(lab: Lab, chance: random.Random) -> Attack:
    """A name that no file can have, or of something that is no file, wherever a command takes one."""
    for file in ("in.mp4", "photo.jpg", "painting.jpg"):
        lab.copy(file)
    os.mkfifo(lab.folder / "fifo")
    (lab.folder / "loop").symlink_to("loop")
    (lab.folder / "dangling").symlink_to("missing")
    name = chance.choice(_NAMES)
    ways: list[tuple[str, list[object]]] = [
        ("input", ["--", name]),
        ("input", ["-q", "-o", "out.mp4", "--", name]),
        ("dry run", ["--dry-run", "--", name]),
        ("output", ["in.mp4", "-q", "-o", name]),
        ("output of two", ["in.mp4", "photo.jpg", "-q", "-o", name]),
        ("mask", ["in.mp4", "-q", "-o", "out.mp4", "--mask", name]),
        ("style", ["in.mp4", "-q", "-o", "out.mp4", "--style", name]),
        ("model", ["in.mp4", "-q", "-o", "out.mp4", "--style", f"./{name}.onnx"]),
        ("list", ["-q", "-o", "out/", "-a", name]),
        ("paint", ["paint", "-q", "--style", "painting.jpg", "--steps", 1, "-o", "out.png", "--", name]),
        ("paint in the style of", ["paint", "-q", "photo.jpg", "--style", name, "--steps", 1, "-o", "out.png"]),
        ("paint into", ["paint", "-q", "photo.jpg", "--style", "painting.jpg", "--steps", 1, "-o", name]),
        ("styles add", ["styles", "add", name]),
        ("sheet", ["styles", "--sheet", name, "--image", "photo.jpg"]),
        ("sheet of", ["styles", "--sheet", "sheet.png", "--image", name]),
        ("work", ["keyframes", "-q", "missing.mp4", "--style", "painting.jpg", "--work", name]),
        ("live", ["live", "--web", "--port", 0, "--", name or "x"]),
        ("bench", ["bench", "--json", "b.json", "--seconds", 0.1, "--rounds", 1, "--size", "64x48", "--", name or "x"]),
    ]
    where, arguments = chance.choice(ways)
    allowed = (
        (DONE, *REFUSED) if name in _MAY_WORK or where in ("output", "output of two", "paint into", "sheet", "list") else REFUSED
    )
    before = snapshot(lab.folder)
    run_result = lab.run(*arguments)
    new = [n for n in snapshot(lab.folder) if n not in before and not any(part.startswith(".") for part in n.split("/"))]
    outputs = new if run_result.code == DONE else []  # whatever it is named
    return lab.judge(f"{where}: {name[:40]!r}", run_result, before, codes=allowed, outputs=outputs)


_MAY_WORK = ("in.mp4/", ".", "*.mp4", "-", "--")


_OWN = (
    *(".out.mp4.claim", ".out.mp4.resume", ".out.part.mp4", ".out.mp4.part", ".out.mp4.tmp", ".out.mp4.lock", ".in.mp4.claim"),
    *("vidstyle-1", ".vidstyle", "out.mp4.keyframes"),
)


def _own_hidden_files(lab: Lab, chance: random.Random) -> Attack:
    """Files of the user's with names that a run uses for itself."""
    lab.copy("in.mp4")
    names = chance.sample(_OWN, 3)
    for name in names:
        (lab.folder / name).write_text("my own words")
    arguments = [*_CONVERT, *chance.choice(([], ["--resume"], ["--skip-existing"], ["--overwrite"], ["--workers", 2]))]
    return lab.attack(f"own files {names}: {arguments[4:]}", *arguments, codes=(DONE, FAILED, DISK), outputs=["out.mp4"])


def _catalogue(lab: Lab, chance: random.Random) -> Attack:
    """A catalogue of the user's that is no catalogue."""
    folder = lab.home / "styles"
    folder.mkdir(exist_ok=True)
    text = chance.choice(
        [
            *("", "[", "[]", "null", "{}", "1", '{"a": 1}', '{"a": {}}', '{"a": {"file": 5}}'),
            *('{"a": {"file": "/etc/passwd", "sha256": 1}}', '{"a": {"file": "../../x.onnx", "sha256": "0"}}'),
            *('{"mosaic": null}', '{"a": {"file": "x.onnx", "exemplar": ["x"]}}', "[" * 5000, '{"\\ud800": {"file": "\\ud800"}}'),
            *('{"a": {"file": "a\\u0000"}}', "\ufeff{}", '{"a": {"file": "b", "title": [1]}}', '{"A B": {"file": "x.onnx"}}'),
            '{"styles": {"a": {"file": "x.onnx"}}}',
        ]
    )
    (folder / "catalog.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    lab.copy("in.mp4")
    arguments = chance.choice(
        [
            ["styles"],
            ["styles", "--json"],
            ["styles", "verify"],
            ["styles", "remove", "a"],
            ["in.mp4", "--style", "a", "-o", "out.mp4"],
            ["in.mp4", "--style", "mosaic", "-o", "out.mp4"],
            ["paint", "in.mp4", "--style", "a"],
        ]
    )
    try:
        before = snapshot(lab.folder)
        run_result = lab.run(*arguments)
        outputs = ["out.mp4"] if run_result.code == DONE and "out.mp4" in arguments else []
        return lab.judge(f"catalogue {text[:60]!r}: {arguments[:3]}", run_result, before, codes=(DONE, *REFUSED), outputs=outputs)
    finally:
        (folder / "catalog.json").unlink(missing_ok=True)


KINDS: dict[str, tuple[float, Callable[[Lab, random.Random], Attack]]] = {
    "names": (7, _strange_name),
    "own files": (1, _own_hidden_files),
    "catalogue": (1.5, _catalogue),
}
