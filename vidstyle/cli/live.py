"""`vidstyle live` and `vidstyle devices`: parse -> options -> one library call -> exit code."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidstyle.cli.shared import Finite
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.core.errors import EXIT_DONE, InputError, UsageError, VidstyleError
from vidstyle.core.options import STROKE_SCALES, LiveOptions, StyleOptions, WebOptions
from vidstyle.live.state import LiveState
from vidstyle.styles.spec import parse_style, styles_in

if TYPE_CHECKING:
    from vidstyle.live.metrics import Measurements
    from vidstyle.live.protocols import Camera, Screen
    from vidstyle.live.session import LiveProgress

JSON_VERSION = 1


@click.command()
@click.argument("camera", required=False, metavar="[CAMERA]")
@click.option("--style", default=StyleOptions.style, show_default=True, help="A name, a model file or a blend; keys change it.")
@click.option("--fps", type=click.FloatRange(1, 240), default=LiveOptions.fps, help="Images a second. [default: the camera's]")
@click.option("--size", default=None, metavar="WxH", help="Ask the camera for this size.")
@click.option("--height", type=click.IntRange(16), default=None, help="Inference height. [default: what the machine manages]")
@click.option("--strength", type=Finite(0, 1), default=1.0, show_default=True, help="Begin between 0, the original, and 1.")
@click.option(
    "--stroke-scale",
    type=Finite(*STROKE_SCALES),
    default=StyleOptions.stroke_scale,
    show_default=True,
    help="Size of the strokes.",
)
@click.option("--preserve-color", is_flag=True, help="Begin with the original's colours.")
@click.option("--mirror", is_flag=True, help="Begin mirrored.")
@click.option("--record", type=click.Path(path_type=Path), default=None, metavar="FILE.mkv", help="Record from the start.")
@click.option("--folder", type=click.Path(path_type=Path), default=LiveOptions.folder, help="For snapshots and recordings.")
@click.option(
    "--microphone",
    default=LiveOptions.microphone,
    show_default=True,
    metavar="NAME",
    help="Whose audio is recorded: auto (where there is one), none, or a device.",
)
@click.option("--virtual-camera", is_flag=True, help="Be a camera for other programs, such as a video call.")
@click.option("--web", is_flag=True, help="Show it on a page for the browser instead of in a window.")
@click.option("--port", type=click.IntRange(0, 65535), default=WebOptions.port, show_default=True, help="The page's port.")
@click.option("--host", default=WebOptions.host, show_default=True, help="The page's address; another needs --token.")
@click.option("--token", default=WebOptions.token, help="A secret of 16 characters or more that the page asks for.")
@click.option("--device", default=StyleOptions.device, show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default=StyleOptions.backend, show_default=True)
@click.option("--model-color", type=click.Choice(["rgb", "bgr"]), default=StyleOptions.model_color, show_default=True)
@click.option("--allow-network", is_flag=True, help="Open URLs.")
@click.option("--progress", type=click.Choice(["auto", "json", "none"]), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.pass_obj
def live(signals: Signals, /, camera: str | None, web: bool, progress: str, quiet: bool, **given: Any) -> int:
    """Paint a camera live, in a window or a browser; press h for the keys.

    CAMERA is an index, a device, a part of its name, a file to loop, or a URL; the first camera if it is not given. With
    --web it may be `browser`: the camera of whoever opens the page.
    """
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s", force=True)
    reporter = LiveJsonReporter() if progress == "json" else LiveReporter(quiet or progress == "none")
    code = EXIT_DONE
    try:
        options, state = _options(given), _state(given)
        source, screen = _in_browser(camera, state, given, reporter) if web else _in_window(camera, given)
        from vidstyle.live.session import run

        signals.hold()  # looked after between two images, so that a recording is finished
        run(source, screen, state, options, reporter, signals.check)
    except VidstyleError as error:
        code = error.exit_code
        reporter.error(str(error))
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
    reporter.close(code)
    return code


@click.command()
def devices() -> int:
    """List the cameras that there are."""
    from vidstyle.live.devices import describe, list_cameras

    found = list_cameras()
    for device in found:
        click.echo(describe(device))
    if found and sys.platform == "linux" and importlib.util.find_spec("linuxpy") is None:
        click.echo("sizes and rates are told with an extra: pip install 'vidstyle[cameras]'", err=True)
    if not found:
        click.echo("no camera was found", err=True)
    return EXIT_DONE


def _in_window(camera: str | None, given: dict[str, Any]) -> tuple[Camera, Screen]:
    from vidstyle.live.window import WindowScreen

    return _camera(camera or "0", given), WindowScreen()


def _in_browser(camera: str | None, state: LiveState, given: dict[str, Any], reporter: LiveReporter) -> tuple[Camera, Screen]:
    from vidstyle.live.devices import list_cameras
    from vidstyle.web import WebScreen

    theirs = camera == "browser" or (camera is None and not list_cameras())
    own = None if theirs else _camera(camera or "0", given)
    screen = WebScreen(state.styles, given["host"], given["port"], given["token"])
    reporter.note(f"open {screen.url} in a browser; Ctrl-C ends it")
    if own is None:
        return screen.camera, screen
    from vidstyle.web.switch import SwitchedCamera

    return SwitchedCamera(screen.camera, own), screen


def _camera(input: str, given: dict[str, Any]) -> Camera:
    from vidstyle.live.camera import OpenCvCamera, resolve_camera

    return OpenCvCamera(resolve_camera(input, given["allow_network"]), _size(given["size"]), given["fps"])


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"expected a size such as 1280x720, got {text}")
    return int(width), int(height)


def _options(given: dict[str, Any]) -> LiveOptions:
    from vidstyle.live.recording.recorder import check_new_recording
    from vidstyle.styles.catalog import find_style

    folder: Path = given["folder"]
    if not folder.is_dir():
        raise InputError(f"expected a folder for snapshots and recordings, found none: {folder}")
    style = StyleOptions(**{f.name: given[f.name] for f in fields(StyleOptions) if f.name in given and f.name != "strength"})
    own = {f.name: given[f.name] for f in fields(LiveOptions) if f.name not in ("style", "microphone")}
    # What is wrong is told before a camera lights up.
    if len(parse_style(style.style)) > 1:
        raise UsageError(f"expected a style, live there is no timeline: keys change it; got {style.style}")
    for name in styles_in(style.style):
        find_style(name)
    if given["record"] is not None:
        check_new_recording(given["record"])
    return LiveOptions(style=style, microphone=None if given["microphone"] == "none" else given["microphone"], **own)


def _state(given: dict[str, Any]) -> LiveState:
    from vidstyle.styles.catalog import all_styles

    style, names = given["style"], sorted(all_styles())
    if style not in names:  # a model file
        names.insert(0, style)
    return LiveState(
        tuple(names),
        float(names.index(style)),
        strength=given["strength"],
        keep_colors=given["preserve_color"],
        mirror=given["mirror"],
        height=given["height"],
    )


class LiveReporter:
    """Tells how it goes in sentences on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def note(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        print(f"error: {text}", file=sys.stderr, flush=True)

    def first(self) -> None:
        """The image itself tells it."""

    def progress(self, progress: LiveProgress) -> None:
        """So it does here."""

    def total(self, measurements: Measurements) -> None:
        if measurements.shown:
            self.note(
                f"{measurements.shown} images in {measurements.seconds:.0f} s, {measurements.fps:.1f} fps; from capture to display "
                f"{measurements.latency_median * 1000:.0f} ms, 99 of 100 within {measurements.latency_p99 * 1000:.0f} ms"
            )

    def close(self, code: int) -> None:
        """The end, with the exit code."""


class LiveJsonReporter(LiveReporter):
    """Events for programs on stderr, one object a line: note, first (image), progress, total, error, exit."""

    def note(self, text: str) -> None:
        self._event("note", message=text)

    def error(self, text: str) -> None:
        self._event("error", message=text)

    def first(self) -> None:
        self._event("first")

    def progress(self, progress: LiveProgress) -> None:
        facts = {"style": progress.style, "height": progress.height, "camera_fps": round(progress.rate, 2)}
        self._event("progress", **facts, **_known(progress.measurements))

    def total(self, measurements: Measurements) -> None:
        self._event("total", **_known(measurements))

    def close(self, code: int) -> None:
        self._event("exit", code=code)

    def _event(self, event: str, **facts: object) -> None:
        print(json.dumps({"v": JSON_VERSION, "event": event, **facts}), file=sys.stderr, flush=True)


def _known(measurements: Measurements) -> dict[str, float | None]:
    """`measurements` for JSON, which has no nan."""
    return {"fps": round(measurements.fps, 2)} | {
        k: None if math.isnan(v) else round(v, 4) for k, v in asdict(measurements).items()
    }
