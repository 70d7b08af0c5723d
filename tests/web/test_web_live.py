"""`vidstyle live --web` from end to end: the command, its page in a real browser, a camera on either side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser, element, until
from tests.support.helpers import command, environment, run_cli
from tests.support.mjpeg_camera import MjpegCamera, encoded, pattern

pytestmark = pytest.mark.browser

__all__ = ["browser"]  # a fixture

SIZE = (160, 120)
CORNER = "const c = canvas.getContext('2d').getImageData(4, 40, 1, 1).data; return [c[0], c[1], c[2]]"
CHECKSUM = """
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
    """A running command, and the URL that it prints."""

    def __init__(self, folder: Path, *args: str) -> None:
        args_ = ["live", *args, "--web", "--port", "0", "--style", "tiny", "--progress", "json", "--folder", str(folder)]
        self.process = subprocess.Popen(command(*args_), env=environment(DISPLAY=""), stderr=subprocess.PIPE, text=True)
        self.url = self.wait_for("note", "open http").split()[1]

    def wait_for(self, event: str, text: str = "") -> str:
        """Wait for an event that contains `text`, and return its message."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            fields: dict[str, Any] = json.loads(line)
            if fields["event"] == event and text in json.dumps(fields):
                return str(fields.get("message", line))
        pytest.fail(f"ended before {event} {text}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def _has_changed(browser: Any, before: Any) -> bool:
    return bool(browser.execute_script(CHECKSUM) != before)


def wait_for_motion(browser: Any) -> None:
    """Wait until the image on the page has changed twice."""
    for _ in range(2):
        before = browser.execute_script(CHECKSUM)
        until(partial(_has_changed, browser, before))


def test_the_page_shows_the_stylized_camera_and_its_keys_work(server: MjpegCamera, browser: Any, tmp_path: Path) -> None:
    with closing(Page(tmp_path, server.url, "--allow-network")) as page:
        browser.get(page.url)
        until(lambda: browser.execute_script("return canvas.width") == SIZE[0])
        wait_for_motion(browser)
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
        wait_for_motion(browser)
        element(browser, "body").send_keys("q")
        assert page.process.wait(30) == 0


def test_other_hosts_need_a_token(server: MjpegCamera) -> None:
    done = run_cli("live", server.url, "--allow-network", "--web", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert len(done.stderr.splitlines()) == 1
