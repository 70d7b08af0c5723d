"""Does a video flicker more where it was divided and joined? Used by tools/bench/cluster.py.

A video of one shot is stylized by `convert` in one piece, and chunk by chunk by a `Worker` in this process, with the stabiliser.
At every seam inside a shot the warping error (Lai et al. 2018, along the input's flow) between the last frame of one chunk and
the first of the next is taken, as decoded from the output. The measure is that error over the error of the same two frames of
the video stylized in one piece: the content is the same, so the rest is due to the seam. The error at seams over that of pairs
nearby is reported too, and the difference of the first frame after a seam from the one stylized in one piece.

Stylized frames are judged without loss (FFV1). As H.264 a seam shows the keyframe too with which every chunk begins; so beside it
stands how much the undivided video flickers at keyframes of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from tools.bench.cluster_tasks import OPTIONS, models, survey_of
from tools.bench.measurement import print_progress
from vidstyle.batch.cluster.chunks import WARM_UP_FRAMES, Chunk, chunk_boundaries, divide, scans_agree, windows_between
from vidstyle.batch.cluster.worker import Statistics, Worker, WorkerJob
from vidstyle.conversion.convert import convert
from vidstyle.core.file_identity import identity_of
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.metrics import WarpingError

NEARBY = (-5, -4, -3, -2, 2, 3, 4, 5)
"""Pairs beside a seam that are compared with it."""

_STILL = 1e-9
"""A smaller error counts as this, so that nothing is divided by zero."""

Frames = Mapping[int, Pixels]


@dataclass
class _Divided:
    """A video and its chunks; `seams` are the numbers of the first frames of chunks that begin within a shot."""

    worker: Worker
    job: WorkerJob
    chunk_seconds: float

    def __post_init__(self) -> None:
        self.survey = survey_of(self.worker, self.job)
        self._ticks = round(self.chunk_seconds / self.survey.info.time_base)
        windows = windows_between(chunk_boundaries(self.survey.keyframes, self._ticks, self.survey.last))
        self._scans = [self.worker.scan(self.job, self.survey, window) for window in windows]
        if not scans_agree(self._scans):
            raise SystemExit(f"expected {self.job.input} to decode to the same frames in ranges")
        self._statistics: dict[int, Statistics] = {}
        chunks = self.chunks(0)
        number = {t: i for i, t in enumerate(t for scan in self._scans for t in scan.times)}
        self.firsts = [number[chunk.times[0]] for chunk in chunks]
        self.frames = len(number)
        self.seams = [n for n, chunk in zip(self.firsts, chunks, strict=True) if n and chunk.times[0] not in chunk.shot_starts]

    def chunks(self, warm_up: int) -> list[Chunk]:
        return divide(self._scans, self.survey, self._ticks, warm_up)

    def stylized(self, options: ConvertOptions, warm_up: int, wanted: set[int]) -> Frames:
        """The frames with the numbers `wanted` of the video stylized chunk by chunk."""
        job, found = replace(self.job, options=options), dict[int, Pixels]()
        for chunk, first in zip(self.chunks(warm_up), self.firsts, strict=True):
            stylized = self.worker.stylize_chunk(job, self.survey, chunk, self._statistics_for(job, chunk))
            found |= _decoded(BytesIO(stylized.segment.data), first, wanted)
        return found

    def _statistics_for(self, job: WorkerJob, chunk: Chunk) -> Statistics | None:
        if chunk.earlier_shot_start is None:
            return None
        if chunk.earlier_shot_start not in self._statistics:
            self._statistics[chunk.earlier_shot_start] = self.worker.shot_statistics(job, self.survey, chunk.earlier_shot_start)
        return self._statistics[chunk.earlier_shot_start]


def _decoded(file: Any, first: int, wanted: set[int]) -> dict[int, Pixels]:
    with av.open(file) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = enumerate(container.decode(video=0), first)
        return {number: frame.to_ndarray(format="rgb24") for number, frame in frames if number in wanted}


def _keyframes(path: Path) -> list[int]:
    """The numbers of a video's keyframes, without those near its ends."""
    with av.open(str(path)) as container:
        packets = sorted((p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size)
    return [n for n, (_, key) in enumerate(packets) if key and max(NEARBY) < n < len(packets) - max(NEARBY)]


def _around(firsts: Sequence[int]) -> set[int]:
    """The frames of the pairs at `firsts`, and of those nearby."""
    return {n + d for n in firsts for d in range(min(NEARBY) - 1, max(NEARBY) + 1)}


def _over_nearby(source: Frames, stylized: Frames, firsts: Sequence[int]) -> float:
    """The error of these pairs over that of pairs nearby."""
    nearby = [n + d for n in firsts for d in NEARBY]
    return statistics.mean(_errors(source, stylized, firsts)) / statistics.mean(_errors(source, stylized, nearby))


def _errors(source: Frames, stylized: Frames, firsts: Sequence[int]) -> list[float]:
    """The warping error of each pair (n - 1, n)."""
    found = []
    for n in firsts:
        metric = WarpingError()
        metric.add(source[n - 1], stylized[n - 1])
        metric.add(source[n], stylized[n])
        found.append(max(metric.stylized, _STILL))
    return found


def _compared(source: Frames, whole: Frames, divided: Frames, seams: Sequence[int], nearby: bool) -> dict[str, float]:
    errors, whole_errors = _errors(source, divided, seams), _errors(source, whole, seams)
    differences = [float(np.abs(divided[n].astype(int) - whole[n]).mean()) for n in seams]
    found = {
        "seam_over_same_pair_undivided": statistics.mean(a / b for a, b in zip(errors, whole_errors, strict=True)),
        "worst_seam": max(a / b for a, b in zip(errors, whole_errors, strict=True)),
        "sum_over_sum": sum(errors) / sum(whole_errors),
        "difference_of_255": statistics.mean(differences),
    }
    if nearby:
        found["seam_over_nearby_divided"] = _over_nearby(source, divided, seams)
        found["seam_over_nearby_undivided"] = _over_nearby(source, whole, seams)
    return {name: round(value, 4) for name, value in found.items()}


def _at_keyframes(video: Path, out: Path) -> dict[str, Any]:
    """The flicker of the undivided video at the keyframes of its encoder. Every chunk begins with a keyframe."""
    keyframes = _keyframes(out)
    if not keyframes:
        return {"keyframes_undivided": 0}
    around = _around(keyframes)
    ratio = _over_nearby(_decoded(str(video), 0, around), _decoded(str(out), 0, around), keyframes)
    return {"keyframes_undivided": len(keyframes), "keyframe_over_nearby_undivided": round(ratio, 4)}


def seams(video: Path, scratch: Path, chunk_seconds: float, warm_ups: Sequence[int]) -> dict[str, Any]:
    """The figures of one video for both strengths: lossless for each length of the warm-up, and as H.264 for the default."""
    worker, stylizer = Worker(models(), usable_cores()), load_stylizer(OPTIONS.style)
    job = WorkerJob(str(video), str(scratch / "out.mp4"), OPTIONS, None, identity_of(video))
    divided = _Divided(worker, job, chunk_seconds)
    if not divided.seams:
        raise SystemExit(f"expected seams inside shots of {video.name}, found none")
    wanted = _around(divided.seams)
    source = _decoded(str(video), 0, wanted)
    found: dict[str, Any] = {"frames": divided.frames, "seams_inside_shots": len(divided.seams), "strengths": {}}
    for strength in ("light", "strong"):
        figures: dict[str, Any] = {"by_warm_up": {}}
        for codec in ("ffv1", "h264"):
            encode = EncodeOptions(codec=codec)
            options = replace(OPTIONS, stabilize=strength, encode=encode)
            divided.job = replace(job, output=str(scratch / f"out.{'mkv' if codec == 'ffv1' else 'mp4'}"))
            out = scratch / f"whole-{strength}{Path(divided.job.output).suffix}"
            convert(str(video), out, stylizer, options)
            whole = _decoded(str(out), 0, wanted)
            if codec == "h264":
                figures |= _at_keyframes(video, out)
            out.unlink()
            for warm_up in warm_ups if codec == "ffv1" else (WARM_UP_FRAMES,):
                frames = divided.stylized(options, warm_up, wanted)
                compared = _compared(source, whole, frames, divided.seams, warm_up == WARM_UP_FRAMES)
                if codec == "ffv1":
                    figures["by_warm_up"][str(warm_up)] = compared
                if warm_up == WARM_UP_FRAMES:
                    figures[codec] = compared
                ratio = compared["seam_over_same_pair_undivided"]
                print_progress(f"seams: {video.name}, {strength}, {codec}, warm-up {warm_up}: {ratio:.3f} of the error undivided")
        found["strengths"][strength] = figures
    return found
