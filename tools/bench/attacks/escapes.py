"""Control characters, bidirectional marks and markup in metadata, names, models and replies: none reaches a terminal."""

from __future__ import annotations

import contextlib
import http.server
import os
import pty
import random
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from tests.support.helpers import write_clip
from tests.support.judge import Violation, ending_violations, snapshot
from tests.support.runs import RunResult
from tools.bench.attacks.lab import PEAK_MIB, SECONDS, Attack, Lab
from vidstyle.styles.catalog import find_style

PAYLOADS = (
    "\x1b[31mPWN",
    "\x1b]0;PWN\x07",
    "\x1b[2J\x1b[HPWN",
    "\x9b31mPWN",
    "\x9d0;PWN\x9c",
    "\x08\x08\x08PWN",
    "\rPWN",
    "\x0cPWN",
    "\x7fPWN",
    "\x85PWN",
    "\u202ePWN",
    "\u2066PWN\u2069",
    "\u2028PWN",
    "\x1b(0PWN",
    "\x1bP1$rPWN\x1b\\",
    "[bold red]PWN[/]",
    "[link=http://a.example]PWN",
    "a\nerror: PWN",
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Put a payload somewhere, and run a command that mentions it."""
    kind, payload = chance.choice(list(KINDS)), chance.choice(PAYLOADS)
    terminal = chance.random() < 0.15
    with KINDS[kind](lab, payload, chance) as arguments:
        before = snapshot(lab.folder)
        run_result = _run_on_terminal(lab, arguments) if terminal else lab.run(*arguments)
    found = ending_violations(run_result, range(6), PEAK_MIB)
    for name, file in before.items():
        if snapshot(lab.folder).get(name) != file:
            found.append(Violation("file changed", name))
    printed = run_result.stdout + run_result.stderr
    if (payload in printed and "[" not in payload[:1]) or (not terminal and _FORBIDDEN.search(printed)):
        found.append(Violation("escape", repr(printed)[:400]))
    elif payload[:1] == "[" and "PWN" in printed and payload[:4] not in printed:
        found.append(Violation("markup", repr(printed)[:400]))
    return Attack(f"{kind}: {payload!r}{' on a terminal' if terminal else ''}", run_result.code, found)


def _run_on_terminal(lab: Lab, arguments: list[object]) -> RunResult:
    """A run whose stderr is a terminal, which gets progress bars."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "wb") as terminal:
        process = lab.start(*arguments, stderr=terminal, stdin=subprocess.DEVNULL)
    printed = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # at the end
            while data := os.read(leader, 4096):
                printed.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    run_result = lab.finish(process, SECONDS)
    reader.join()
    os.close(leader)
    return RunResult(run_result.code, run_result.stdout, printed.decode(errors="replace"), args=run_result.args)


Arguments = list[object]
Kind = Callable[[Lab, str, random.Random], contextlib.AbstractContextManager[Arguments]]


def _named(suffix: str, payload: str) -> str:
    return f"{payload.replace('/', '_')}{suffix}"


@contextlib.contextmanager
def _metadata(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    where = chance.choice(("title", "language", "attachment", "stream title", "codec tag"))
    path, source = lab.folder / "in.mkv", lab.folder / "clip.mkv"
    write_clip(source, audio=["eng"], times=range(3))
    attached = lab.folder / "font.ttf"
    attached.write_bytes(b"\0\1\0\0 not a font")
    options = {
        "title": ["-metadata", f"title={payload}"],
        "language": ["-metadata:s:a:0", f"language={payload}"],
        "stream title": ["-metadata:s:v:0", f"title={payload}", "-metadata:s:a:0", f"title={payload}"],
        "codec tag": ["-metadata", f"{payload.replace('=', '')}=x"],
        "attachment": ["-attach", str(attached), "-metadata:s:t", f"filename={payload}", "-metadata:s:t", "mimetype=font/ttf"],
    }[where]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), "-map", "0", "-c", "copy", *options, str(path)], check=True)
    how = chance.choice(
        (["--dry-run"], ["--dry-run", "-v"], ["-v", "-o", "out.mp4"], ["-o", "out.mp4", "--progress", "json"], ["-o", "out.avi"])
    )
    yield ["in.mkv", *how]


@contextlib.contextmanager
def _name(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    """A file with the payload in its name."""
    video, image = (lab.copy(file, _named(Path(file).suffix, payload)).name for file in ("in.mp4", "photo.jpg"))
    (lab.folder / _named(".onnx", payload)).write_bytes(b"no model")
    (lab.folder / _named(".txt", payload)).write_text(f"{payload} missing\n")
    yield chance.choice(
        [
            [f"./{video}", "--dry-run"],
            [f"./{video}", "-v"],
            [f"./{video}", "--report", "-o", "out.mp4"],
            [".", "-o", "out/", "--dry-run"],
            [".", "-o", "out/"],
            [f"./{image}", "--progress", "json"],
            ["missing.mp4", f"./{video}", "-o", "out/"],
            ["-a", _named(".txt", payload)],
            ["paint", f"./{image}", "--style", f"./{image}", "--steps", 1],
            ["paint", f"./{video}", "--style", f"./{image}", "--steps", 1],
            ["keyframes", f"./{image}", "--style", f"./{image}", "--steps", 1],
            ["styles", "--sheet", "sheet.png", "--image", f"./{_named('.txt', payload)}"],
            ["styles", "add", f"./{_named('.onnx', payload)}", "--name", "evil"],
            ["train", f"./{image}", "--name", "evil", "--photos", f"./{image}", "--work", _named("", payload)],
            ["bench", f"./{_named('.txt', payload)}", "--seconds", "0.1", "--rounds", 1],
            ["live", f"./{_named('.txt', payload)}"],
        ]
    )


@contextlib.contextmanager
def _option(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    """The payload as the value of an option."""
    lab.copy("in.mp4")
    name = chance.choice(
        [
            *("--style", "--timeline", "-o", "--mask", "--codec", "--preset", "--pix-fmt", "--start", "--device", "--include"),
            *("--list", "--cluster", "--progress", "--backend", "--fade", f"--{payload}"),
        ]
    )
    yield ["in.mp4", name, payload] if name != "-o" else ["in.mp4", "-o", payload + ".xyz"]


@contextlib.contextmanager
def _model(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    """The payload in a model's facts."""
    model = onnx.load(find_style("mosaic"))
    key = chance.choice(("title", "painter", "licence", "name", "family", "architecture"))
    entry = model.metadata_props.add()
    entry.key, entry.value = f"vidstyle.{key}", payload
    for entry in model.metadata_props:
        if entry.key == f"vidstyle.{key}":
            entry.value = payload
    (lab.folder / "evil.onnx").write_bytes(model.SerializeToString())
    lab.run("styles", "add", "evil.onnx", "--name", "evil")
    lab.copy("in.mp4")
    try:
        yield chance.choice(
            [["styles"], ["styles", "--json"], ["styles", "verify", "evil"], ["in.mp4", "--style", "evil", "-o", "o.mp4"]]
        )
    finally:
        lab.run("styles", "remove", "evil")


@contextlib.contextmanager
def _reply(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    """The payload in the reply of a server."""
    line = payload.replace("\n", " ")
    where = chance.choice(("reason", "location", "name"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = f"302 Found\r\nLocation: http://{line}.invalid/{line}" if where == "location" else f"404 {line}"
            self.wfile.write(f"HTTP/1.0 {found}\r\n\r\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{line if where == 'name' else 'x'}"
        try:
            yield chance.choice(
                [
                    ["styles", "add", f"{url}.onnx", "--allow-network", "--sha256", "0" * 64],
                    [f"{url}.mp4", "--allow-network", "-o", "out.mp4"],
                ]
            )
        finally:
            server.shutdown()


@contextlib.contextmanager
def _catalog(lab: Lab, payload: str, chance: random.Random) -> Iterator[Arguments]:
    """The payload in the catalogue of the user's styles."""
    folder = lab.home / "styles"
    folder.mkdir(exist_ok=True)
    catalog = folder / "catalog.json"
    text = payload.encode("unicode_escape").decode().replace("\\x", "\\u00")
    name, fact = chance.choice((("evil", text), (text, "x")))
    catalog.write_text(f'{{"{name}": {{"file": "{fact}", "title": "{fact}", "painter": "{fact}", "sha256": "{fact}"}}}}')
    try:
        yield chance.choice([["styles"], ["styles", "verify"], ["missing.mp4", "--style", "evil"], ["styles", "remove", "evil"]])
    finally:
        catalog.unlink(missing_ok=True)


KINDS: dict[str, Kind] = {
    "metadata": _metadata,
    "name": _name,
    "option": _option,
    "model": _model,
    "reply": _reply,
    "catalogue": _catalog,
}
