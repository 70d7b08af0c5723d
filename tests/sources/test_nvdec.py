"""Decoding on a GPU, replaced by FFmpeg's own decoder here: the frames are the same, or the CPU decodes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support.networks import soft_image
from vidstyle.sources import open_source
from vidstyle.sources.nvdec import GpuDecoder
from vidstyle.sources.video import VideoSource

ROTATED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


class FakeGpuDecoder:
    """FFmpeg's own decoder instead of the GPU's: semi-planar frames, and an error after `packets` packets."""

    def __init__(self, stream: Any, packets: int = 10**6, as_format: str = "nv12") -> None:
        self.decoder: Any = av.CodecContext.create(stream.codec_context.name, "r")
        self.decoder.extradata = stream.codec_context.extradata
        self.left, self.as_format = packets, as_format

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("cuvidDecodePicture failed")
        return [frame.reformat(format=self.as_format) for frame in self.decoder.decode(packet)]

    def flush_buffers(self) -> None:
        self.decoder.flush_buffers()


def fake_decoder(*args: Any, **options: Any) -> GpuDecoder:
    fake: Any = FakeGpuDecoder(*args, **options)
    return GpuDecoder(fake)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Three groups of pictures with B-frames, rotated for display."""
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 24, options={"g": "16", "bf": "3", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_matrix(ROTATED)
        for seed in range(48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(soft_image(64, 96, seed))))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path, gpu: str | None) -> list[tuple[int, int, bytes]]:
    with closing(VideoSource(str(path), gpu=gpu)) as source:
        frames = [(frame.pts, frame.duration, frame.pixels.tobytes()) for frame in source.frames()]
        assert source.damage() == []
    return frames


@pytest.mark.parametrize("packets", [10**6, 0, 1, 5, 16, 17, 18, 31, 47, 48])
def test_decoding_that_fails_on_the_gpu_continues_without_loss(
    video: Path, monkeypatch: pytest.MonkeyPatch, packets: int
) -> None:
    expected = decoded(video, None)
    asked = []

    def fake_gpu_decoder(stream: Any, max_pixels: int, gpu: str) -> GpuDecoder:
        asked.append(gpu)
        return fake_decoder(stream, packets)

    monkeypatch.setattr("vidstyle.sources.decoding.gpu_decoder", fake_gpu_decoder)
    assert decoded(video, "0") == expected
    assert asked == ["0"]
    assert len(expected) == 48


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a GPU")
def test_without_a_gpu_the_cpu_decodes(video: Path) -> None:
    assert decoded(video, "0") == decoded(video, None)


def use_fake_gpu(monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    monkeypatch.setattr(
        "vidstyle.sources.decoding.gpu_decoder",
        lambda stream, max_pixels, gpu: fake_decoder(stream, **how),
    )


def test_gpu_with_the_same_first_image_is_used_and_info_is_kept(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(VideoSource(str(video))) as source:
        wanted = source.info
    assert wanted.display_matrix is not None
    use_fake_gpu(monkeypatch)
    with closing(open_source(str(video), gpu="0")) as source:
        assert isinstance(source, VideoSource)
        assert source._decoder.is_on_gpu
        assert source.info == wanted
        assert len(list(source.frames())) == 48


@pytest.mark.parametrize("how", [{"as_format": "gray"}, {"packets": 0}], ids=["other images", "none"])
def test_gpu_with_another_first_image_is_not_used(video: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    expected = decoded(video, None)
    use_fake_gpu(monkeypatch, **how)
    with closing(open_source(str(video), gpu="0")) as source:
        assert isinstance(source, VideoSource)
        assert not source._decoder.is_on_gpu
        assert [(f.pts, f.duration, f.pixels.tobytes()) for f in source.frames()] == expected
