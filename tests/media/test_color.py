"""Colours keep their values and tags, for every matrix and range. The tests compute YUV on their own."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.helpers import frames_of
from tests.support.stylizers import Identity
from vidstyle.conversion.convert import convert
from vidstyle.core.options import ConvertOptions, EncodeOptions

BT709, BT601_PAL, BT601_NTSC, UNTAGGED = 1, 5, 6, 2
LIMITED, FULL = 1, 2
LUMA = {BT709: (0.2126, 0.7152, 0.0722), BT601_PAL: (0.299, 0.587, 0.114), BT601_NTSC: (0.299, 0.587, 0.114)}
LOSSLESS = ConvertOptions(encode=EncodeOptions(crf=1))
COLORS = [(200, 40, 40), (30, 180, 60), (40, 60, 220), (128, 128, 128), (250, 250, 250), (4, 4, 4), (230, 200, 20)]


def to_yuv(rgb: tuple[int, int, int], matrix: int, range_: int) -> tuple[int, int, int]:
    """ITU-R BT.601 and BT.709, 8 bit."""
    r, g, b = (c / 255 for c in rgb)
    kr, kg, kb = LUMA[matrix]
    y = kr * r + kg * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if range_ == FULL:
        return round(255 * y), round(128 + 255 * cb), round(128 + 255 * cr)
    return round(16 + 219 * y), round(128 + 224 * cb), round(128 + 224 * cr)


def to_rgb(yuv: tuple[float, float, float], matrix: int, range_: int) -> tuple[float, float, float]:
    """The inverse of `to_yuv`."""
    y, cb, cr = yuv
    y, cb, cr = (y / 255, (cb - 128) / 255, (cr - 128) / 255) if range_ == FULL else (
        (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)  # fmt: skip
    kr, kg, kb = LUMA[matrix]
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return 255 * r, 255 * (y - kr * r - kb * b) / kg, 255 * b


def write_flat(path: Path, rgb: tuple[int, int, int], matrix: int, range_: int, tagged: bool, size: tuple[int, int]) -> None:
    """A clip of one colour, its planes filled directly."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if tagged:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, range_
            stream.codec_context.color_primaries = stream.codec_context.color_trc = matrix
        planes = [np.full((h, width if h == height else width // 2), value, np.uint8)
                  for h, value in zip((height, height // 2, height // 2), to_yuv(rgb, matrix, range_), strict=True)]  # fmt: skip
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(np.concatenate([p.reshape(-1, width) for p in planes]), "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def mean_yuv(frame: av.VideoFrame) -> tuple[float, float, float]:
    """The mean of each plane, as stored."""
    planes = []
    for plane in frame.planes:
        data = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
        planes.append(float(data[:, : plane.width].mean()))
    return planes[0], planes[1], planes[2]


@pytest.mark.parametrize(
    ("matrix", "range_", "suffix"),
    [
        *((matrix, range_, ".mp4") for matrix in (BT709, BT601_PAL, BT601_NTSC) for range_ in (LIMITED, FULL)),
        (BT601_PAL, LIMITED, ".mkv"),
        (BT709, FULL, ".mkv"),
    ],
)
def test_colours_and_tags_are_kept(tmp_path: Path, matrix: int, range_: int, suffix: str) -> None:
    for number, rgb in enumerate(COLORS):
        clip, output = tmp_path / f"{number}{suffix}", tmp_path / f"{number}.out{suffix}"
        write_flat(clip, rgb, matrix, range_, tagged=True, size=(64, 48))
        convert(str(clip), output, Identity(), LOSSLESS)
        frame = frames_of(output)[0]
        assert (frame.colorspace, frame.color_range) == (matrix, range_)
        assert (frame.color_primaries, frame.color_trc) == (matrix, matrix)
        assert np.abs(np.subtract(to_rgb(mean_yuv(frame), matrix, range_), rgb)).max() <= 4, rgb


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), BT601_NTSC), ((1280, 720), BT709)], ids=["small", "720 lines"])
def test_untagged_clip_is_read_as_players_do_and_tagged(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    clip, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_flat(clip, (200, 40, 40), matrix, LIMITED, tagged=False, size=size)
    assert frames_of(clip)[0].colorspace == UNTAGGED
    convert(str(clip), output, Identity(), LOSSLESS)
    frame = frames_of(output)[0]
    assert (frame.colorspace, frame.color_range) == (matrix, LIMITED)
    assert np.abs(np.subtract(to_rgb(mean_yuv(frame), matrix, LIMITED), (200, 40, 40))).max() <= 4


def test_rgb_clip_keeps_its_colours(tmp_path: Path) -> None:
    from tests.support.helpers import write_clip

    clip = write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="bgr0", times=range(2),
                      image=lambda i, w, h: np.full((h, w, 3), (200, 40, 90), np.uint8))  # fmt: skip
    convert(str(clip), tmp_path / "out.mp4", Identity(), LOSSLESS)
    frame = frames_of(tmp_path / "out.mp4")[0]
    assert frame.color_range == LIMITED
    assert np.abs(np.subtract(to_rgb(mean_yuv(frame), frame.colorspace, LIMITED), (200, 40, 90))).max() <= 4
