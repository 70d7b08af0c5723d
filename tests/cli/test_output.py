"""What is printed cannot control a terminal, whatever names, metadata and messages of others contain; JSON keeps it exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import cv2
import pytest

from tests.support.helpers import events, noise, paint, run_cli, run_process, write_clip
from vidstyle.styles.catalog import add_style

EVIL = "\x1b]0;owned\x07[red]\x9b2J\x7f\u202e\r\nerror: forged"
ESCAPED = r"\x1b]0;owned\x07[red]\x9b2J\x7f\u202e\r\nerror: forged"
NAME = "\x1b[2J[red]\x9b\x7f\u202e\udcff\nx"
"""A file name with all that a name may have, and a byte that is not UTF-8."""
ESCAPED_NAME = r"\x1b[2J[red]\x9b\x7f\u202e\udcff\nx"


def assert_harmless(text: str) -> None:
    """No controls but the ends of lines, no changes of direction, no forged line."""
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text), repr(text)
    assert not re.search("^error: forged", text, re.MULTILINE), repr(text)


def test_metadata_of_a_video_is_escaped(clip: Path) -> None:
    evil = write_clip(clip.with_name("evil.mkv"), audio=[EVIL])
    with av.open(str(evil)) as source, av.open(str(clip.with_name("fonts.mkv")), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        output.add_attachment(EVIL, "application/x-truetype-font", b"font")
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    done = run_cli("fonts.mkv", "evil.mkv", "--style", "tiny", "--dry-run", cwd=clip.parent)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout)
    assert done.stdout.count(ESCAPED) >= 2, done.stdout


class EvilReason(BaseHTTPRequestHandler):
    """Answers with a reason phrase that controls terminals."""

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.0 404 \x1b]0;owned\x07\x9b2J\x7f\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def evil_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), EvilReason) as server:
        Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_reason_phrase_of_a_server_is_escaped(evil_site: str) -> None:
    done = run_cli("styles", "add", f"{evil_site}/a.onnx", "--sha256", "0" * 64, "--allow-network")
    assert done.returncode == 1
    assert_harmless(done.stderr)
    assert r"404: \x1b]0;owned\x07\x9b2J\x7f" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["{}.mp4"],
        ["in.mp4", "--style", "{}"],
        ["in.mp4", "--codec", "{}"],
        ["in.mp4", "--crf", "{}"],
        ["in.mp4", "--list", "{}"],
        ["--{}"],
        ["paint", "{}.jpg", "--style", "mosaic"],
        ["keyframes", "{}.mp4", "--style", "mosaic"],
        ["keyframes", "in.mp4", "--style", "tiny", "--keyframes", "{}"],
        ["train", "{}.jpg", "--name", "new", "--photos", "."],
        ["styles", "verify", "{}"],
        ["styles", "remove", "{}"],
        ["styles", "add", "{}.onnx"],
        ["styles", "--sheet", "sheet.png", "--image", "{}"],
        ["bench", "{}.mp4"],
        ["bench", "in.mp4", "--size", "{}"],
        ["live", "{}/none.mp4"],
        ["live", "in.mp4", "--folder", "{}"],
    ],
    ids=lambda args: " ".join(args),
)
def test_names_in_errors_are_escaped(clip: Path, args: list[str]) -> None:
    done = run_cli(*(arg.format(NAME) for arg in args), cwd=clip.parent)
    assert done.returncode in (1, 2, 4)
    assert_harmless(done.stdout + done.stderr)
    assert ESCAPED_NAME in done.stdout + done.stderr


def test_names_in_logs_of_training_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / f"{NAME}.jpg").write_text("no image")
    cv2.imwrite(str(tmp_path / "style.jpg"), noise(0, 64, 64))
    done = run_cli("train", "style.jpg", "--name", "new", "--photos", "photos", cwd=tmp_path)
    assert done.returncode == 1
    assert_harmless(done.stderr)
    assert f"skipped: could not read photos/{ESCAPED_NAME}.jpg" in done.stderr


def test_names_of_outputs_are_escaped(clip: Path) -> None:
    done = paint("in.mp4", "-o", f"{NAME}.mp4", "--report", cwd=clip.parent)
    assert_harmless(done.stdout + done.stderr)
    assert done.stdout.startswith(f"{ESCAPED_NAME}.mp4: warping error ")


def test_facts_in_a_catalogue_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path))
    add_style(tmp_path, EVIL, {"file": "a.onnx", "title": EVIL, "painter": EVIL, "year": EVIL, "licence": EVIL})
    done = run_cli("styles")
    assert done.returncode == 0
    assert_harmless(done.stdout)
    assert done.stdout.count(ESCAPED) == 5
    [style] = [style for style in json.loads(run_cli("styles", "--json").stdout)["styles"] if style["source"] == "own"]
    assert {style[fact] for fact in ("name", "title", "painter", "year", "licence")} == {EVIL}, "JSON keeps it exactly"


def test_names_in_json_are_exact(clip: Path) -> None:
    evil = clip.rename(clip.with_name(f"{NAME}.mp4"))
    done = run_cli(evil, "--style", "tiny", "--progress", "json")
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stderr)
    assert {event["input"] for event in events(done.stderr) if "input" in event} == {str(evil)}


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
    ids=["C", "ascii", "utf-8"],
)
def test_every_name_can_be_printed_in_any_locale(clip: Path, variables: dict[str, str]) -> None:
    clip.rename(clip.with_name("映画\udcff.mp4"))
    done = run_process(".", "--style", "tiny", "--dry-run", cwd=clip.parent, env=variables)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout)
    assert ".tiny.mp4: 64x48" in done.stdout
    if "utf-8" not in variables.get("PYTHONIOENCODING", ""):
        assert done.stdout.isascii()
