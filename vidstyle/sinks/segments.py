"""A conversion that can be taken up again: the video is encoded in segments, which are joined at the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import av.error
import filelock
import numpy as np
from av.container import OutputContainer
from av.packet import Packet

from vidstyle.errors import OutputExistsError, UsageError
from vidstyle.files import replace_file
from vidstyle.frames import Frame, VideoInfo
from vidstyle.media import open_media, writing
from vidstyle.options import EncodeOptions
from vidstyle.sinks.copying import Companion
from vidstyle.sinks.encoding import FrameEncoder, encoder_for
from vidstyle.sinks.publish import check_free
from vidstyle.sinks.video import VideoFile, check_container

log = logging.getLogger(__name__)

SEGMENT_SECONDS = 10
_FRAMES = (20, 600)
"""A segment has so many frames at least and at most, whatever rate a file claims."""

_CONTAINERS = {"h264": "nut", "hevc": "nut"}
"""What a segment is kept in, Matroska for other codecs. NUT leaves these two as the encoder gave them (Annex B), which fits
the headers of the joined stream."""

_VERSION = 1
_BROKEN = (av.error.FFmpegError, OSError, ValueError, KeyError, TypeError, IndexError)

Memory = Mapping[str, np.ndarray]


class WorkFolder:
    """The hidden folder beside an output that holds its finished segments, locked for one process.

    `manifest.json` tells what they were made from (`fingerprint`) and lists them; it is written whole or not at all, after the
    segment that it lists. Raises `OutputExistsError` where another process is at work in it.
    """

    def __init__(self, output: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = output.with_name(f".{output.name}.resume")
        self._leaving = output.with_name(f".{output.name}.resume.done")
        self._fingerprint = dict(fingerprint)
        shutil.rmtree(self._leaving, ignore_errors=True)  # of a run that was killed at its very end
        with writing(output):
            self.path.mkdir(mode=0o700, exist_ok=True)
        self._lock = filelock.FileLock(self.path / "lock")
        with writing(output):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise OutputExistsError(f"another vidstyle is at work on {output}; nothing was changed") from None
        self.segments: list[dict[str, Any]] = self._read()

    @property
    def frames(self) -> int:
        """How many frames the finished segments hold."""
        return sum(len(segment["packets"]) for segment in self.segments)

    def _read(self) -> list[dict[str, Any]]:
        try:
            manifest = json.loads((self.path / "manifest.json").read_text("utf-8"))
            segments = list(manifest["segments"])
            same = manifest["version"] == _VERSION and manifest["fingerprint"] == self._fingerprint
        except FileNotFoundError:
            return []
        except _BROKEN:
            log.warning("the notes of the interrupted run cannot be read; beginning anew")
            return []
        if not same:
            log.warning("the input, the style or an option has changed since the interrupted run; beginning anew")
            return []
        good = []
        for segment in segments:
            if not self._is_whole(segment):
                log.warning("a segment of the interrupted run is damaged; it and what follows is done again")
                break
            good.append(segment)
        return good

    def _is_whole(self, segment: Mapping[str, Any]) -> bool:
        try:
            path = self.segment_path(segment)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            with open_media(str(path)) as container:
                count = sum(1 for packet in container.demux(video=0) if packet.size)
            return bool(digest == segment["sha256"] and count == len(segment["packets"]))
        except (*_BROKEN, AttributeError):
            return False

    def segment_path(self, segment: Mapping[str, Any]) -> Path:
        """The file of a segment; a name from the manifest cannot lead elsewhere."""
        return self.path / Path(str(segment["file"])).name

    def memory(self) -> dict[str, np.ndarray] | None:
        """What the finishers knew after the last finished segment; None where that is lost."""
        try:
            with np.load(self.path / f"{len(self.segments):06}.npz", allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def add(self, path: Path, packets: list[tuple[int, int]], memory: Memory) -> None:
        """List a finished segment, with what the finishers know after it."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        number = len(self.segments) + 1
        if memory:
            replace_file(self.path / f"{number:06}.npz", lambda file: np.savez(file, **memory))  # type: ignore[arg-type]
        self.segments.append({"file": path.name, "sha256": digest, "packets": packets})
        self._write()
        (self.path / f"{number - 1:06}.npz").unlink(missing_ok=True)

    def forget(self) -> None:
        """Begin anew: the segments do not fit together with what is left."""
        self.segments = []
        self._write()

    def _write(self) -> None:
        manifest = {"version": _VERSION, "fingerprint": self._fingerprint, "segments": self.segments}
        replace_file(self.path / "manifest.json", lambda file: file.write(json.dumps(manifest).encode()))

    def remove(self) -> None:
        """All is done: the folder goes. It loses its name first, so that no other process finds it half gone."""
        try:
            os.replace(self.path, self._leaving)
        except OSError:  # Windows, while the lock is open
            self.close()
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()
        shutil.rmtree(self._leaving, ignore_errors=True)

    def close(self) -> None:
        """Let another process have it; a folder without a finished segment is of no use to anybody."""
        if self._lock.is_locked and not self.segments:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


class ResumableSink:
    """Encodes frames into segments of about ten seconds each; `publish` joins them. See `vidstyle.stages.Sink`.

    The first `done` frames are there already from an interrupted run, and `memory` is what the finishers knew after them;
    `write` takes the frames that follow. `remember` tells what they know now, after the frame written last; None where each
    frame stands for itself.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        encode: EncodeOptions,
        fingerprint: Mapping[str, Any],
        open_companion: Callable[[], Companion],
        remember: Callable[[], Memory] | None = None,
        overwrite: bool = False,
    ) -> None:
        check_container(path)
        self._encoder = encoder_for(path, info, encode)
        if self._encoder.codec == "gif":
            raise UsageError("expected a video that can be joined from segments for --resume, GIF cannot")
        check_free(path, overwrite)
        self._path, self._info, self._encode, self._overwrite = path, info, encode, overwrite
        self._open_companion, self._remember = open_companion, remember
        low, high = _FRAMES
        self._length = min(max(round(SEGMENT_SECONDS * (info.frame_rate or 25)), low), high)
        self._folder = WorkFolder(path, fingerprint)
        self._segment: _Segment | None = None
        self._output: VideoFile | None = None
        self._warnings: list[str] = []
        self.memory: Memory = {}
        self._recall()

    def _recall(self) -> None:
        if self._remember is not None and self._folder.segments:
            memory = self._folder.memory()
            if memory is None:
                with writing(self._path):
                    self._folder.forget()
            self.memory = memory or {}
        self.done = self._folder.frames

    def write(self, frame: Frame) -> None:
        with writing(self._path):
            if self._segment is None:
                path = self._folder.path / f"{len(self._folder.segments):06}.{_CONTAINERS.get(self._encoder.codec, 'mkv')}"
                self._segment = _Segment(path, self._encoder, self._info, self._encode)
            self._segment.write(frame)
            if self._segment.frames == self._length:
                self._finish()

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            packets = segment.finish()
            self._warnings = segment.encoder.warnings()
            self._folder.add(segment.path, packets, self._remember() if self._remember is not None else {})

    def warnings(self) -> list[str]:
        return self._output.warnings() if self._output is not None else self._warnings

    def damage(self) -> list[str]:
        return self._output.damage() if self._output is not None else []

    def publish(self) -> None:
        with writing(self._path):
            self._finish()
        companion = self._open_companion()
        self._output = VideoFile(self._path, self._info, self._encode, companion, self._overwrite)
        for packets in self._joined():
            self._output.mux(packets)
        self._output.publish()
        self._folder.remove()

    def _joined(self) -> Iterator[list[Packet[Any]]]:
        """The packets of all segments with their exact times, and decoding times that fit all of them."""
        assert self._output is not None
        base = self._output.encoder.time_base
        times = [pts for segment in self._folder.segments for pts, _ in segment["packets"]]
        decoding_times = iter(_decoding_times(times, max(1, round(1 / (self._info.frame_rate or 25) / base))))
        for segment in self._folder.segments:
            with open_media(str(self._folder.segment_path(segment))) as container:
                packets = (packet for packet in container.demux(video=0) if packet.size)
                for packet, (pts, duration) in zip(packets, segment["packets"], strict=True):
                    packet.time_base = base
                    packet.pts, packet.dts, packet.duration = pts, next(decoding_times), duration
                    yield [packet]

    def close(self) -> None:
        if self._segment is not None:
            self._segment.discard()
        if self._output is not None:
            self._output.close()
        self._folder.close()


class _Segment:
    """A file of some frames; their exact times, which its container would round, are kept aside."""

    def __init__(self, path: Path, encoder: Any, info: VideoInfo, encode: EncodeOptions) -> None:
        self.path = path
        self.frames = 0
        self._packets: list[tuple[int, int]] = []
        self._container: OutputContainer | None = av.open(str(path), "w", format={".mkv": "matroska", ".nut": "nut"}[path.suffix])
        self.encoder = FrameEncoder(self._container, encoder, info, encode)

    def write(self, frame: Frame) -> None:
        self._mux(self.encoder.encode(frame))
        self.frames += 1

    def _mux(self, packets: list[Packet[Any]]) -> None:
        assert self._container is not None
        for packet in packets:
            self._packets.append((int(packet.pts or 0), int(packet.duration or 0)))
            self._container.mux_one(packet)

    def finish(self) -> list[tuple[int, int]]:
        """Close the file; time and duration of every packet, in its order."""
        self._mux(self.encoder.flush())
        container, self._container = self._container, None
        assert container is not None
        container.close()
        return self._packets

    def discard(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                container.close()
            self.path.unlink(missing_ok=True)


def _decoding_times(times: list[int], step: int) -> list[int]:
    """Decoding times for frames that are shown at `times`, given in the order of decoding: rising, and never after them."""
    shown = sorted(times)
    rank = {pts: i for i, pts in enumerate(shown)}
    delay = max((i - rank[pts] for i, pts in enumerate(times)), default=0)
    return [shown[i - delay] if i >= delay else shown[0] - (delay - i) * step for i in range(len(times))]
