"""`vidstyle live` and `vidstyle devices`: stylize a camera, and list cameras."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidstyle.cli.completion import complete_files, complete_styles
from vidstyle.cli.live_reporters import LiveJsonReporter, LiveLineReporter
from vidstyle.cli.options import (
    BACKEND_OPTION,
    DEVICE_OPTION,
    INPUT_OUTPUT,
    NETWORK_OPTION,
    OTHER,
    PERFORMANCE,
    PROGRESS_OPTION,
    QUIET_OPTION,
    STYLE,
    Command,
    Finite,
    options_from,
    panel,
)
from vidstyle.cli.output import LogHandler, log_with, print_line, print_message
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.core.errors import EXIT_DONE, InputError, UsageError, expected
from vidstyle.core.options import (
    FPS_RANGE,
    MIN_HEIGHT,
    PORT_RANGE,
    STRENGTH_RANGE,
    STROKE_SCALE_RANGE,
    LiveOptions,
    StyleOptions,
    WebOptions,
)
from vidstyle.live.state import LiveState
from vidstyle.styles.spec import parse_style, styles_in

if TYPE_CHECKING:
    from vidstyle.live.protocols import Camera, Screen


@click.command(
    cls=Command,
    examples=["vidstyle live --style scream", "vidstyle live 0 --record live.mkv", "vidstyle live browser --web"],
)
@click.argument("camera", required=False, metavar="[CAMERA]", shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option(
        "--fps", type=Finite(*FPS_RANGE), default=LiveOptions.fps, show_default="the camera's", help="Frames per second."
    ),
    click.option("--size", default=None, metavar="WxH", help="Request this size from the camera."),
    click.option("--mirror", is_flag=True, help="Start with a mirrored image."),
    click.option(
        "--record", type=click.Path(path_type=Path), default=None, metavar="FILE.mkv", help="Record to this file from the start."
    ),
    click.option(
        "--folder",
        type=click.Path(path_type=Path),
        default=LiveOptions.folder,
        show_default=True,
        help="Folder for snapshots and recordings.",
    ),
    click.option(
        "--microphone",
        default=LiveOptions.microphone,
        show_default=True,
        metavar="NAME",
        help="Microphone to record: auto (the default one, if there is any), none, or a device.",
    ),
    click.option("--virtual-camera", is_flag=True, help="Act as a camera for other programs, such as a video call."),
    NETWORK_OPTION,
)
@panel(
    STYLE,
    click.option(
        "--style",
        default=StyleOptions.style,
        show_default=True,
        shell_complete=complete_styles,
        help="Style name, model file or blend to start with; keys change it.",
    ),
    click.option(
        "--strength",
        type=Finite(*STRENGTH_RANGE),
        default=StyleOptions.strength,
        show_default=True,
        help="Strength to start with, from 0 (the original) to 1.",
    ),
    click.option(
        "--stroke-scale",
        type=Finite(*STROKE_SCALE_RANGE),
        default=StyleOptions.stroke_scale,
        show_default=True,
        help="Scale the size of the strokes.",
    ),
    click.option("--preserve-color", is_flag=True, help="Start with the colours of the original."),
    click.option(
        "--model-color",
        type=click.Choice(["rgb", "bgr"]),
        default=StyleOptions.model_color,
        show_default=True,
        help="Channel order of a model that was not made by vidstyle.",
    ),
)
@panel(
    "Web page",
    click.option("--web", is_flag=True, help="Show the video on a web page instead of in a window."),
    click.option(
        "--port",
        type=click.IntRange(*PORT_RANGE),
        metavar="N",
        default=WebOptions.port,
        show_default=True,
        help="Port of the page.",
    ),
    click.option(
        "--host",
        default=WebOptions.host,
        show_default=True,
        help="Address of the page; any but a loopback address requires --token.",
    ),
    click.option("--token", default=WebOptions.token, help="Secret of 16 characters or more that the page asks for."),
)
@panel(
    PERFORMANCE,
    DEVICE_OPTION,
    BACKEND_OPTION,
    click.option(
        "--height",
        type=click.IntRange(MIN_HEIGHT),
        metavar="N",
        default=StyleOptions.height,
        show_default="as large as the machine can keep up with",
        help="Height at which the network runs.",
    ),
)
@panel(OTHER, PROGRESS_OPTION, QUIET_OPTION)
@click.pass_obj
def live(signals: Signals, /, camera: str | None, web: bool, progress: str, quiet: bool, **values: Any) -> int:
    """Stylize a camera live, in a window or a browser. Press h to show the keys.

    CAMERA is an index, a device, part of a camera's name, a file to loop, or a URL; by default the first camera. With --web it
    may also be `browser`: the camera of the browser that opens the page.
    """
    log_with(LogHandler(), logging.ERROR)
    reporter = LiveJsonReporter() if progress == "json" else LiveLineReporter(quiet or progress == "none")
    signals.on_exit = reporter.close
    code = EXIT_DONE
    try:
        options, state = _options(values), _state(values)
        signals.hold()  # checked between two frames, so that a recording is finished
        source, screen = _open_web_page(camera, state, values, reporter) if web else _open_window(camera, values)
        from vidstyle.live.session import run

        run(source, screen, state, options, reporter, signals.check)
    except Exception as error:
        problem = expected(error)
        code = problem.exit_code
        reporter.error(problem)
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
    reporter.close(code)
    return code


@click.command(cls=Command)
def devices() -> int:
    """List the available cameras."""
    from vidstyle.live.devices import describe, list_cameras

    found = list_cameras()
    for device in found:
        print_line(describe(device))
    if found and sys.platform == "linux" and importlib.util.find_spec("linuxpy") is None:
        print_message("sizes and frame rates are listed with an extra: pip install 'vidstyle[cameras]'")
    if not found:
        print_message("no camera was found")
    return EXIT_DONE


def _open_window(camera: str | None, values: dict[str, Any]) -> tuple[Camera, Screen]:
    from vidstyle.live.window import WindowScreen

    return _camera(camera or "0", values), WindowScreen()


def _open_web_page(
    camera: str | None, state: LiveState, values: dict[str, Any], reporter: LiveLineReporter
) -> tuple[Camera, Screen]:
    from vidstyle.live.devices import list_cameras
    from vidstyle.web import WebScreen

    remote = camera == "browser" or (camera is None and not list_cameras())
    local = None if remote else _camera(camera or "0", values)
    web = WebOptions(**options_from(WebOptions, values))
    screen = WebScreen(state.styles, web.host, web.port, web.token)
    reporter.note(f"open {screen.url} in a browser; Ctrl-C ends it")
    if local is None:
        return screen.camera, screen
    from vidstyle.web.switch import SwitchedCamera

    return SwitchedCamera(screen.camera, local), screen


def _camera(input: str, values: dict[str, Any]) -> Camera:
    from vidstyle.live.camera import OpenCvCamera, resolve_camera

    return OpenCvCamera(resolve_camera(input, values["allow_network"]), _size(values["size"]), values["fps"])


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"expected a size such as 1280x720, got {text}")
    return int(width), int(height)


def _options(values: dict[str, Any]) -> LiveOptions:
    from vidstyle.live.recording.recorder import check_new_recording
    from vidstyle.styles.catalog import find_style

    folder: Path = values["folder"]
    if not os.path.isdir(folder):
        raise InputError(f"no such folder for snapshots and recordings: {folder}")
    style = StyleOptions(**{f.name: values[f.name] for f in fields(StyleOptions) if f.name in values and f.name != "strength"})
    live_options = {f.name: values[f.name] for f in fields(LiveOptions) if f.name not in ("style", "microphone")}
    # Errors are reported before a camera is switched on.
    if len(parse_style(style.style)) > 1:
        raise UsageError(f"a live view has no timeline, keys change its style (got {style.style})")
    for name in styles_in(style.style):
        find_style(name)
    if values["record"] is not None:
        check_new_recording(values["record"])
    return LiveOptions(style=style, microphone=None if values["microphone"] == "none" else values["microphone"], **live_options)


def _state(values: dict[str, Any]) -> LiveState:
    from vidstyle.styles.catalog import all_styles

    style, names = values["style"], sorted(all_styles())
    if style not in names:  # a model file
        names.insert(0, style)
    return LiveState(
        tuple(names),
        float(names.index(style)),
        strength=values["strength"],
        keep_colors=values["preserve_color"],
        mirror=values["mirror"],
        height=values["height"],
    )
