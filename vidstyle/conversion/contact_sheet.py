"""A contact sheet: one image, stylized in every style there is, with names to choose by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np

from vidstyle.conversion.convert import check_not_itself
from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import StyleOptions, Trim
from vidstyle.core.text import as_clock, printable
from vidstyle.media.orientation import display_info, to_display_orientation
from vidstyle.sinks import open_image_sink
from vidstyle.sources import is_image, open_source
from vidstyle.styles.catalog import all_styles, known
from vidstyle.stylizers import load_stylizer

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}

WIDTH = 1600
MARGIN = 32
MAX_COLUMNS = 4
SHAPE = 2.3
"""Width over height that a sheet without captions should have."""

TALLEST = 2.0
"""A cell's height over its width at most; taller images become narrower than their cell."""

WHITE, BLACK, GREY = (255, 255, 255), (25, 25, 25), (105, 105, 105)
_FONT = cv2.FontFace("sans")
_LINES = ((24, 600, BLACK), (18, 400, GREY), (18, 400, GREY))
"""Size in pixels, weight and colour of a cell's lines: its name, and two below."""

_LEADING = 1.45
_GAP = MARGIN // 4
"""Between an image and its caption; and as much below, so that a caption keeps closer to its own image."""

_CAPTION = round(_LEADING * sum(size for size, _, _ in _LINES)) + 2 * _GAP


@dataclass(frozen=True)
class Cell:
    """An image, uint8 RGB (H, W, 3), and the lines below it, of which the first is its name."""

    image: Pixels
    lines: Sequence[str]


def make_contact_sheet(
    output: Path, input: str, at: float | None = None, height: int | None = None, overwrite: bool = False
) -> None:
    """Paint `input` in every style as still images are, and write the sheet of them, whole or not at all.

    Of a video the frame at `at` seconds is taken, None: from its middle. `height`: at which the nets work. Raises `UsageError`
    for an output that is no PNG, JPEG or WebP, and the kinds that reading, painting and writing raise.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"expected a name that ends in .png, .jpg or .webp for the sheet, got {output.name}")
    check_not_itself(input, output)
    with closing(open_image_sink(output, overwrite)) as sink:  # before painting: it may refuse
        original, at = read_sample_image(input, at)
        sheet = draw_sheet(_cells(original, [Path(input).name, "" if at is None else f"at {as_clock(at)}"], height))
        sink.write(Frame(sheet, 0, Fraction(1)))
        sink.publish()


def read_sample_image(input: str, at: float | None = None) -> tuple[Pixels, float | None]:
    """The image `input`, or the frame of the video `input` at `at` seconds, None: from its middle; and the seconds, if any.

    uint8 RGB (H, W, 3), upright and with square pixels, as a player shows it. Raises `InputError` or `UsageError`.
    """
    if is_url(input):
        raise UsageError(f"expected a file as the sheet's image, got a URL: {input}")
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
        image = _scaled(image, *((round(w * aspect), h) if aspect > 1 else (w, round(h / aspect))))
    return image, at


def _cells(original: Pixels, lines: Sequence[str], height: int | None) -> Iterator[Cell]:
    yield Cell(original, ["original", *lines])
    for name, (_, facts) in sorted(all_styles().items()):
        stylizer = load_stylizer(StyleOptions(style=name, height=height))
        [stylized] = stylizer.for_shot([original]).stylize([original])
        yield Cell(stylized, [name, known(facts, "title") or "", known(facts, "painter") or ""])


def draw_sheet(cells: Iterator[Cell]) -> Pixels:
    """A sheet of cells whose images are all as large as the first: uint8 RGB (H, W, 3), W is about `WIDTH`."""
    first = next(cells)
    small = [first, *cells]
    h, w = first.image.shape[:2]
    shape = min(h / w, TALLEST)
    columns = _columns(len(small), shape)
    width = (WIDTH - MARGIN) // columns - MARGIN
    height = max(1, round(width * shape))
    rows = ceil(len(small) / columns)
    step_x, step_y = width + MARGIN, height + _CAPTION + MARGIN
    canvas = np.full((MARGIN + rows * step_y, MARGIN + columns * step_x, 3), WHITE, np.uint8)
    for number, cell in enumerate(small):
        row, column = divmod(number, columns)
        _draw(canvas, cell, MARGIN + column * step_x, MARGIN + row * step_y, (width, height))
    return canvas


def _columns(count: int, shape: float) -> int:
    """How many columns bring a sheet close to `SHAPE`, rows as full as can be; `shape`: height over width of the images."""
    columns = max(1, min(MAX_COLUMNS, count, round(sqrt(count * shape * SHAPE))))
    return ceil(count / ceil(count / columns))


def _draw(canvas: Pixels, cell: Cell, x: int, y: int, size: tuple[int, int]) -> None:
    width, height = size
    h, w = cell.image.shape[:2]
    image = _scaled(cell.image, width if h <= TALLEST * w else max(1, round(height * w / h)), height)
    canvas[y : y + height, x : x + image.shape[1]] = image
    base = y + height + _GAP
    for line, (pixels, weight, color) in zip(cell.lines, _LINES, strict=True):
        base += round(pixels * _LEADING)
        cv2.putText(canvas, _fitting(printable(line), width, pixels, weight), (x, base), color, _FONT, pixels, weight)


def _fitting(text: str, width: int, size: int, weight: int) -> str:
    """`text` in at most `width` pixels: its end gives way."""
    kept = text
    while kept and cv2.getTextSize((10 * WIDTH, 100), text, (0, 50), _FONT, size, weight)[2] > width:
        kept = kept[:-1]
        text = f"{kept.rstrip()}…"
    return text


def _scaled(image: Pixels, width: int, height: int) -> Pixels:
    how = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)
