"""`vidstyle live --web` from end to end: the command, its page in a real browser, a camera of each side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import command, environment, run_cli
from tests.support.mjpeg_camera import MjpegCamera, encoded, pattern
from tests.web.test_web_browser import browser, element, until

__all__ = ["browser"]  # a fixture

SIZE = (160, 120)
CORNER = "const c = canvas.getContext('2d').getImageData(4, 40, 1, 1).data; return [c[0], c[1], c[2]]"
EVERYTHING = """
const c = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let sum = 0;
for (let i = 0; i < c.length; i += 4) sum += c[i] * ((i % 977) + 1) + c[i + 1];
return sum
"""


@pytest.fixture
def server() -> Iterator[MjpegCamera]:
    with closing(MjpegCamera(encoded([pattern(i, *SIZE) for i in range(60)]), fps=20)) as camera:
        yield camera


class Page:
    """A running command, and the address it tells."""

    def __init__(self, folder: Path, *args: str) -> None:
        asked = ["live", *args, "--web", "--port", "0", "--style", "tiny", "--progress", "json", "--folder", str(folder)]
        self.process = subprocess.Popen(command(*asked), env=environment(DISPLAY=""), stderr=subprocess.PIPE, text=True)
        self.url = self.wait_for("note", "open http").split()[1]

    def wait_for(self, event: str, words: str = "") -> str:
        """The line that tells this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == event and words in json.dumps(told):
                return str(told.get("message", line))
        pytest.fail(f"ended before {event} {words}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def moves(browser: Any) -> None:
    """The image on the page changes, and again."""
    for _ in range(2):
        before = browser.execute_script(EVERYTHING)
        until(lambda before=before: browser.execute_script(EVERYTHING) != before)  # type: ignore[misc]


def test_the_page_shows_the_camera_stylized_and_its_keys_act(server: MjpegCamera, browser: Any, tmp_path: Path) -> None:
    with closing(Page(tmp_path, server.url, "--allow-network")) as page:
        browser.get(page.url)
        until(lambda: browser.execute_script("return canvas.width") == SIZE[0])
        moves(browser)
        body = element(browser, "body")
        original = pattern(0, *SIZE)[40, 4].astype(int)
        stylized = browser.execute_script(CORNER)
        assert abs(original - stylized).max() > 20
        body.send_keys("o")
        until(lambda: abs(original - browser.execute_script(CORNER)).max() < 12)
        body.send_keys("o", "s")
        page.wait_for("note", "saved ")
        assert len(list(tmp_path.glob("vidstyle-*.png"))) == 1
        body.send_keys("n")
        page.wait_for("progress", '"udnie"')
        body.send_keys("q")
        assert page.process.wait(30) == 0


def test_the_browsers_camera_is_stylized(browser: Any, tmp_path: Path) -> None:
    with closing(Page(tmp_path, "browser")) as page:
        browser.get(page.url)
        until(lambda: "waiting for the browser" in element(browser, "#message").text)
        element(browser, "#webcam").click()
        page.wait_for("first")
        moves(browser)
        element(browser, "body").send_keys("q")
        assert page.process.wait(30) == 0


def test_other_hosts_need_a_token(server: MjpegCamera) -> None:
    done = run_cli("live", server.url, "--allow-network", "--web", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert len(done.stderr.splitlines()) == 1
