"""Neither vidstyle nor what it depends on sends anything that was not asked for, or writes below the home folder."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.helpers import command, environment, listing, write_clip
from tests.support.network import WatchedNetwork
from tests.support.perceptual import random_convs, save_weights
from tests.support.textures import save_image, texture
from tests.support.virtual_screen import virtual_screen
from vidstyle.studio.training.dataset import MIN_IMAGES

SECONDS = 12
"""ONNX Runtime would send what it knows some ten seconds after it was imported."""
IMPORTS = {
    "a conversion": "import vidstyle.cli; assert vidstyle.cli.run_command_line(['in.mp4', '--style', 'tiny']) == 0",
    "the library": "import vidstyle; vidstyle.stylize('in.mp4', style='tiny')",
    "a tool": "import tools.bench.cpu",
}

FETCH = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"


@pytest.fixture
def network() -> Iterator[WatchedNetwork]:
    with closing(WatchedNetwork()) as network:
        yield network


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS)
def test_nothing_is_written_below_home(clip: Path, tmp_path: Path, code: str) -> None:
    """ONNX Runtime would write the ID of this device, in each process that imports it, unless it was told before."""
    home, incoming = tmp_path / "home", tmp_path / "incoming"
    home.mkdir()
    incoming.mkdir()
    env = environment(HOME=str(home), XDG_CACHE_HOME="")
    env = {name: value for name, value in env.items() if not name.startswith("ORT_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=clip.parent, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert listing(home) == []


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Wait for a line of output that contains `text`, and return it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError(f"ended before {text}: {lines}")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb (Debian: xvfb)")
def test_no_packet_leaves_the_machine(network: WatchedNetwork, tmp_path: Path) -> None:
    """Side by side: the live view in a window and on a page, a run that waits for more videos, workers, Ray and training."""
    pytest.importorskip("ray")
    home, incoming = tmp_path / "home", tmp_path / "incoming"
    home.mkdir()
    incoming.mkdir()
    clip = write_clip(tmp_path / "in.mp4")
    for seed in range(MIN_IMAGES):
        save_image(tmp_path / "photos" / f"{seed:02}.png", texture(120, 160, seed))
    encoder = save_weights(tmp_path, random_convs("conv{}".format))

    def start(name: str, *args: object, **variables: str) -> subprocess.Popen[str]:
        return network.start(*command(*args), cwd=tmp_path, home=home / name, **variables)

    convert = (clip, "--style", "tiny", "--progress", "json")
    live = ("live", *convert, "--microphone", "none", "--folder", tmp_path)
    train = ("train", tmp_path / "photos" / "00.png", "--photos", tmp_path / "photos", "--encoder", encoder, "--name", "sea")
    quick = (
        "--steps",
        2,
        "--identity-steps",
        1,
        "--batch",
        1,
        "--crop",
        64,
        "--style-size",
        64,
        "--no-exemplar",
        "--from",
        "none",
    )
    with virtual_screen(640, 480) as display:
        window = start("window", *live, DISPLAY=display)
        page = start("page", *live, "--web", "--port", 0)
        watch = start("watch", *convert, incoming, "-o", tmp_path / "out", "--watch")
        wait_for(watch, "file_done")
        wait_for(window, '"first"')
        url = re.findall("http[^ ]*", json.loads(wait_for(page, "open http"))["message"])[0]
        others = [
            network.start(sys.executable, "-c", FETCH, url, cwd=tmp_path, home=home / "browser"),
            start("workers", *convert, "-o", "1.mp4", "--workers", 2),
            start("cluster", *convert, "-o", "2.mp4", "--cluster", "local"),
            start("train", *train, "--into", tmp_path / "own", *quick),
        ]
        network.is_quiet_for(SECONDS)
        ended = [(process.communicate()[0], process.returncode) for process in others]
        for process in (window, page, watch):
            process.send_signal(signal.SIGINT)
            ended.append((process.communicate()[0], process.returncode))
    network.close()
    assert [code for _, code in ended] == [0, 0, 0, 0, 130, 130, 130], ended
    assert network.packets == []
    assert [path for path in listing(home) if "/" in path] == []
