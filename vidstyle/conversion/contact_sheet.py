"""A contact sheet: one image in every available style, with the names of the styles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np

from vidstyle.conversion.interrupts import Interrupts, NoInterrupts
from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.file_identity import check_unchanged
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import StyleOptions, Trim
from vidstyle.core.resizing import resized
from vidstyle.core.text import as_clock, printable
from vidstyle.media.container import local_files
from vidstyle.media.orientation import display_info, to_display_orientation
from vidstyle.sinks import check_not_read, open_image_sink
from vidstyle.sources import is_image, open_source
from vidstyle.styles.catalog import all_styles, known
from vidstyle.stylizers import load_stylizer

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}

WIDTH = 1600
MARGIN = 32
MAX_COLUMNS = 4
ASPECT_RATIO = 2.3
"""The desired width / height of a sheet without captions."""

MAX_CELL_RATIO = 2.0
"""The maximum height / width of a cell; taller images are narrower than their cell."""

WHITE, BLACK, GREY = (255, 255, 255), (25, 25, 25), (105, 105, 105)
_FONT = cv2.FontFace("sans")
_LINES = ((24, 600, BLACK), (18, 400, GREY), (18, 400, GREY))
"""Font size in pixels, font weight and colour of the lines of a caption: the name, and two lines below it."""

_LEADING = 1.45
_GAP = MARGIN // 4
"""The space between an image and its caption, and below the caption, which thereby is closer to its own image."""

_CAPTION = round(_LEADING * sum(size for size, _, _ in _LINES)) + 2 * _GAP


@dataclass(frozen=True)
class Cell:
    """An image, uint8 RGB (H, W, 3), and the lines of its caption; the first is the name."""

    image: Pixels
    lines: Sequence[str]


def make_contact_sheet(
    output: Path,
    input: str,
    at: float | None = None,
    height: int | None = None,
    overwrite: bool = False,
    interrupts: Interrupts = NoInterrupts(),
) -> None:
    """Stylize the image `input` in every style and write a sheet of the results, whole or not at all.

    `at`: the time in seconds of the frame of a video; None: the middle. `height`: the inference height. Raises `UsageError` for
    an output that is not a PNG, JPEG or WebP, and the errors of reading, stylizing and writing. `interrupts` is checked before
    each style.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"expected an output name ending in .png, .jpg or .webp for the contact sheet, got {output.name}")
    check_not_read(output, [("input", input)])
    files = local_files(input)
    interrupts.hold()
    with closing(open_image_sink(output, overwrite)) as sink:  # before stylizing: it may fail
        original, at = read_sample_image(input, at)
        lines = [Path(input).name, "" if at is None else f"at {as_clock(at)}"]
        sheet = draw_sheet(_cells(original, lines, height, interrupts.check))
        sink.write(Frame(sheet, 0, Fraction(1)))
        check_unchanged(files)
        sink.publish()


def read_sample_image(input: str, at: float | None = None) -> tuple[Pixels, float | None]:
    """The image `input`, or the frame of the video `input` at `at` seconds (None: the middle), and the time of that frame.

    uint8 RGB (H, W, 3), in display orientation and with square pixels. Raises `InputError` or `UsageError`.
    """
    if is_url(input):
        raise UsageError(f"expected a file for the contact sheet, got a URL: {input}")
    if is_image(input):
        if at is not None:
            raise UsageError(f"expected a time only for a video, got {at:g} s for the image {input}")
    elif at is None:
        with closing(open_source(input)) as source:
            info = source.info
        at = 0.0 if info.frame_count_estimate == 1 else (info.duration_seconds or 0.0) / 2
    with closing(open_source(input, Trim(start=at or 0.0))) as source:
        frame = next(iter(source.frames()), None)
        if frame is None:
            raise InputError(f"expected an image, found none: {input}")
        image = to_display_orientation(frame, source.info.display_matrix).pixels
        aspect = display_info(source.info).sample_aspect_ratio or Fraction(1)
    h, w = image.shape[:2]
    if aspect != 1:
        image = resized(image, *((round(w * aspect), h) if aspect > 1 else (w, round(h / aspect))))
    return image, at


def _cells(original: Pixels, lines: Sequence[str], height: int | None, check: Callable[[], None]) -> Iterator[Cell]:
    yield Cell(original, ["original", *lines])
    for name, (_, facts) in sorted(all_styles().items()):
        check()
        stylizer = load_stylizer(StyleOptions(style=name, height=height))
        [stylized] = stylizer.for_shot([original]).stylize([original])
        yield Cell(stylized, [name, known(facts, "title") or "", known(facts, "painter") or ""])


def draw_sheet(cells: Iterator[Cell]) -> Pixels:
    """The sheet, uint8 RGB (H, W, 3), W about `WIDTH`. All images have the size of the first."""
    first = next(cells)
    all_cells = [first, *cells]
    h, w = first.image.shape[:2]
    ratio = min(h / w, MAX_CELL_RATIO)
    columns = _columns(len(all_cells), ratio)
    width = (WIDTH - MARGIN) // columns - MARGIN
    height = max(1, round(width * ratio))
    rows = ceil(len(all_cells) / columns)
    step_x, step_y = width + MARGIN, height + _CAPTION + MARGIN
    canvas = np.full((MARGIN + rows * step_y, MARGIN + columns * step_x, 3), WHITE, np.uint8)
    for number, cell in enumerate(all_cells):
        row, column = divmod(number, columns)
        _draw(canvas, cell, MARGIN + column * step_x, MARGIN + row * step_y, (width, height))
    return canvas


def _columns(count: int, ratio: float) -> int:
    """The number of columns for a sheet close to `ASPECT_RATIO` with full rows. `ratio`: height / width of the images."""
    columns = max(1, min(MAX_COLUMNS, count, round(sqrt(count * ratio * ASPECT_RATIO))))
    return ceil(count / ceil(count / columns))


def _draw(canvas: Pixels, cell: Cell, x: int, y: int, size: tuple[int, int]) -> None:
    width, height = size
    h, w = cell.image.shape[:2]
    image = resized(cell.image, width if h <= MAX_CELL_RATIO * w else max(1, round(height * w / h)), height)
    canvas[y : y + height, x : x + image.shape[1]] = image
    base = y + height + _GAP
    for line, (pixels, weight, color) in zip(cell.lines, _LINES, strict=True):
        base += round(pixels * _LEADING)
        cv2.putText(canvas, _fitting(printable(line), width, pixels, weight), (x, base), color, _FONT, pixels, weight)


def _fitting(text: str, width: int, size: int, weight: int) -> str:
    """`text` cut to at most `width` pixels."""
    kept = text
    while kept and cv2.getTextSize((10 * WIDTH, 100), text, (0, 50), _FONT, size, weight)[2] > width:
        kept = kept[:-1]
        text = f"{kept.rstrip()}…"
    return text
