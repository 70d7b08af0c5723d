"""The page in a real browser: images, keys, sliders, the browser's camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.browser import browser, element, until
from vidstyle.core.frames import Frame, Pixels
from vidstyle.live.state import Event, KeyPress, LiveState, Setting, Status
from vidstyle.web import WebScreen

ActionChains = pytest.importorskip("selenium.webdriver.common.action_chains", reason="needs selenium").ActionChains
Keys = pytest.importorskip("selenium.webdriver.common.keys", reason="needs selenium").Keys

pytestmark = pytest.mark.browser

__all__ = ["browser"]  # a fixture

STYLES = ("mosaic", "scream", "udnie")
RED, GREEN = (250, 0, 0), (0, 250, 0)


@pytest.fixture
def screen(browser: Any) -> Iterator[WebScreen]:
    """A screen with a red image that is open in `browser`."""
    screen = WebScreen(STYLES, token="0123456789abcdef")
    try:
        browser.get(screen.url)
        show(screen, RED)
        until(lambda: pixel(browser) == RED)
        yield screen
    finally:
        screen.close()


def show(screen: WebScreen, color: tuple[int, int, int], status: Status | None = None, state: LiveState | None = None) -> None:
    image: Pixels = np.full((90, 160, 3), color, np.uint8)
    screen.show(image, status or Status(24.0, 0.061, 480), state or LiveState(STYLES))


def pixel(browser: Any) -> tuple[int, ...]:
    """Colour in the middle of the canvas, rounded to tens because of JPEG."""
    script = "return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
    return tuple(round(value, -1) for value in browser.execute_script(script)[:3])


def _shows(browser: Any, color: tuple[int, ...]) -> bool:
    return pixel(browser) == color


def _has_more_than(frames: list[Frame], count: int) -> bool:
    return len(frames) > count


def collect(screen: WebScreen, events: list[Event]) -> list[Event]:
    """Append the new events to `events`."""
    events += screen.events()
    return events


def expect(screen: WebScreen, *wanted: Event) -> None:
    """Check that the next events are `wanted`."""
    events: list[Event] = []
    until(lambda: len(collect(screen, events)) >= len(wanted))
    assert events == list(wanted)


def test_image_is_updated_and_fills_the_window(screen: WebScreen, browser: Any, tmp_path: Path) -> None:
    for color in (GREEN, RED, GREEN):
        show(screen, color)
        until(partial(_shows, browser, color))
    assert browser.execute_script("return [canvas.width, canvas.height]") == [
        160,
        90,
    ]
    width, left, inner = browser.execute_script("return [box().width, box().left, innerWidth]")
    assert width + 2 * left == pytest.approx(inner)
    assert width / browser.execute_script("return box().height") == pytest.approx(160 / 90)
    assert browser.save_screenshot(str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 5000
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_token_is_removed_from_the_address_bar_and_reload_works(screen: WebScreen, browser: Any) -> None:
    assert "token" not in browser.current_url
    browser.refresh()
    until(lambda: pixel(browser) == RED)


def test_keys_are_sent(screen: WebScreen, browser: Any) -> None:
    body = element(browser, "body")
    body.send_keys("n", "P", Keys.ARROW_LEFT, Keys.ARROW_UP, " ", "+", "2", "f", "x", Keys.ESCAPE, "q")
    expect(screen, *(KeyPress(key) for key in ("n", "p", "left", "up", "space", "+", "2", "q")))


def test_buttons_are_sent_and_return_the_focus(screen: WebScreen, browser: Any) -> None:
    element(browser, "[aria-label='Mirror']").click()
    element(browser, "[aria-label='Record']").click()
    element(browser, "[aria-label='Style 2: scream']").click()
    until(lambda: browser.execute_script("return document.activeElement === document.body"))
    element(browser, "body").send_keys(" ")
    expect(screen, KeyPress("m"), KeyPress("r"), Setting("position", 1.0), KeyPress("space"))


def test_sliders_are_sent_and_follow_the_state(screen: WebScreen, browser: Any) -> None:
    element(browser, "#strength").send_keys(Keys.ARROW_LEFT)
    expect(screen, Setting("strength", 0.99))
    element(browser, "#position").send_keys(Keys.ARROW_RIGHT)
    expect(screen, Setting("position", 0.05))
    state = LiveState(STYLES, position=1.3, strength=0.4, keep_colors=True)
    show(screen, RED, state=state)
    until(lambda: element(browser, "#position").get_attribute("value") == "1.3")
    until(lambda: element(browser, "#strength").get_attribute("value") == "0.4")
    assert element(browser, "[data-key=c]").get_attribute("aria-pressed") == "true"
    assert element(browser, "#description").text == state.describe()


def test_split_line_is_dragged_over_the_image(screen: WebScreen, browser: Any) -> None:
    show(screen, RED, state=LiveState(STYLES, split=0.5))
    until(lambda: element(browser, "#line").is_displayed())
    # The image is narrower than the window; move by a quarter of the image.
    width = round(browser.execute_script("return box().width"))
    canvas = element(browser, "canvas")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(-width // 4, 0).release().perform()
    events: list[Event] = []
    until(lambda: _ends_at(collect(screen, events), 0.25))
    assert {event.name for event in events if isinstance(event, Setting)} == {"split"}


def _ends_at(events: list[Event], position: float) -> bool:
    last = events[-1] if events else None
    return isinstance(last, Setting) and last.value is not None and abs(last.value - position) < 0.02


def test_status_and_recording_are_shown(screen: WebScreen, browser: Any) -> None:
    assert not element(browser, "#recording").is_displayed()
    show(screen, RED, Status(24.0, 0.0614, 480, 75.4, "saved a.png"))
    until(lambda: element(browser, "#recording").is_displayed())
    assert element(browser, "#recorded").text == "01:15"
    assert element(browser, "#message").text == "saved a.png"
    numbers = element(browser, "#numbers").text
    assert all(text in numbers for text in ("24 fps", "61 ms", "480 p auto"))
    show(screen, RED, Status(24.0, 0.0614, 480))
    until(lambda: not element(browser, "#recording").is_displayed())
    assert element(browser, "#message").text == ""


def test_help_opens_only_in_this_page(screen: WebScreen, browser: Any) -> None:
    element(browser, "body").send_keys("h")
    until(lambda: element(browser, "#help").is_displayed())
    assert "keep the colours of the original" in element(browser, "#help").text
    element(browser, "body").send_keys("h")
    until(lambda: not element(browser, "#help").is_displayed())
    assert screen.events() == []


def test_controls_fade_without_input(screen: WebScreen, browser: Any) -> None:
    until(lambda: element(browser, "#dock").value_of_css_property("opacity") == "0")
    element(browser, "body").send_keys("x")
    until(lambda: element(browser, "#dock").value_of_css_property("opacity") == "1")


def test_page_reconnects_and_shows_the_end(screen: WebScreen, browser: Any) -> None:
    browser.execute_script("socket.close()")
    until(lambda: "Connection lost" in element(browser, "#notice").text)
    show(screen, GREEN)
    until(lambda: pixel(browser) == GREEN and not element(browser, "#notice").is_displayed())
    screen.close()
    until(lambda: element(browser, "#notice").text == "vidstyle has ended")


@pytest.mark.parametrize("transport", ["WebRTC", "WebSocket"])
def test_browsers_camera_gives_moving_images(screen: WebScreen, browser: Any, transport: str) -> None:
    if transport != "WebRTC":  # as through an SSH tunnel, which carries no UDP
        browser.execute_script("RTCPeerConnection.prototype.setRemoteDescription = async () => {}")
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(screen.camera.frames()))
    reader.start()
    try:
        for _ in range(2):  # the camera may be started again
            seen = len(frames)
            browser.execute_script("wake(); $('webcam').click()")
            until(partial(_has_more_than, frames, seen + 10))
            assert screen.camera.active
            assert screen.camera.trouble is None
            until(lambda: element(browser, "#webcam").get_attribute("aria-pressed") == "true")
            browser.execute_script("wake(); $('webcam').click()")
            until(lambda: not screen.camera.active)
            assert "has ended" in (screen.camera.trouble or "")
    finally:
        screen.close()
        reader.join(20)
    assert not reader.is_alive()
    assert all(frame.pixels.dtype == np.uint8 and frame.pixels.ndim == 3 for frame in frames)
    assert (np.diff([frame.pts for frame in frames]) > 0).all()
    assert abs(float(frames[-1].pts * frames[-1].time_base) - time.monotonic()) < 120
    assert (frames[-1].pixels != frames[-10].pixels).any()
    # Chromium's fake camera is green with a pale clock.
    red, green, blue = frames[-1].pixels.mean((0, 1))
    assert green > red
    assert green > blue


def test_stalled_camera_is_reported_and_a_newer_one_takes_over(screen: WebScreen, browser: Any) -> None:
    element(browser, "#webcam").click()
    until(lambda: screen.camera.active)
    browser.execute_script("peer.getSenders()[0].replaceTrack(null)")
    until(lambda: not screen.camera.active)
    assert "no image" in (screen.camera.trouble or "")
    browser.execute_script("peer.getSenders()[0].replaceTrack(stream.getVideoTracks()[0])")
    until(lambda: screen.camera.active)
    browser.execute_script("window.older = peer; peer.onconnectionstatechange = null; peer = stream = null; startCamera()")
    until(lambda: browser.execute_script("return peer && peer.connectionState") == "connected")
    until(lambda: browser.execute_script("return older.connectionState") != "connected")
    until(lambda: screen.camera.active)
