"""Where a video was divided and joined: does it flicker there more than elsewhere? Used by tools/bench/cluster.py.

A video of one shot is stylized by `convert` in one piece, and chunk by chunk by a `Worker` in this process, with the stabiliser.
At every seam inside a shot the warping error (Lai et al. 2018, along the input's flow) between the last frame of one chunk and
the first of the next is taken, as decoded from the output. The measure is that error over the error of the same two frames of
the video stylized in one piece: the content is the same, so what is left is the seam. Beside it stand the error at seams over that
of pairs nearby, and how far the first frame behind a seam is from the one stylized in one piece.

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
from tools.bench.measurement import say
from vidstyle.batch.cluster.chunks import LEAD, Chunk, boundaries, divide, fit_together, windows
from vidstyle.batch.cluster.worker import Film, Statistics, Worker, facts_of
from vidstyle.conversion.convert import convert
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.metrics import WarpingError

NEARBY = (-5, -4, -3, -2, 2, 3, 4, 5)
"""Pairs beside a seam that are compared with it."""

_STILL = 1e-9
"""Less is no error, and nothing to be divided by."""

Frames = Mapping[int, Pixels]


@dataclass
class _Divided:
    """A video as the worker sees it; its `seams` are the numbers of the first frames of chunks."""

    worker: Worker
    video: Film
    chunk_seconds: float

    def __post_init__(self) -> None:
        self.survey = survey_of(self.worker, self.video)
        self._ticks = round(self.chunk_seconds / self.survey.info.time_base)
        parts = windows(boundaries(self.survey.keyframes, self._ticks, self.survey.last))
        self._stretches = [self.worker.look_through(self.video, self.survey, part) for part in parts]
        if not fit_together(self._stretches):
            raise SystemExit(f"expected {self.video.input} to read the same in parts")
        self._learnt: dict[int, Statistics] = {}
        chunks = self.chunks(0)
        number = {t: i for i, t in enumerate(t for s in self._stretches for t in s.times)}
        self.firsts = [number[chunk.times[0]] for chunk in chunks]
        self.frames = len(number)
        self.seams = [n for n, chunk in zip(self.firsts, chunks, strict=True) if n and chunk.times[0] not in chunk.shots]

    def chunks(self, lead: int) -> list[Chunk]:
        return divide(self._stretches, self.survey, self._ticks, lead)

    def stylized(self, options: ConvertOptions, lead: int, wanted: set[int]) -> Frames:
        """The frames of these numbers, of the video stylized chunk by chunk with so much lead."""
        video, found = replace(self.video, options=options), dict[int, Pixels]()
        for chunk, first in zip(self.chunks(lead), self.firsts, strict=True):
            part = self.worker.paint(video, self.survey, chunk, self._statistics(video, chunk))
            found |= _decoded(BytesIO(part.segment.data), first, wanted)
        return found

    def _statistics(self, video: Film, chunk: Chunk) -> Statistics | None:
        if chunk.under_way is None:
            return None
        if chunk.under_way not in self._learnt:
            self._learnt[chunk.under_way] = self.worker.learn(video, self.survey, chunk.under_way)
        return self._learnt[chunk.under_way]


def _decoded(file: Any, first: int, wanted: set[int]) -> dict[int, Pixels]:
    with av.open(file) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = enumerate(container.decode(video=0), first)
        return {number: frame.to_ndarray(format="rgb24") for number, frame in frames if number in wanted}


def _keyframes(path: Path) -> list[int]:
    """The numbers of a video's keyframes, but for those at its ends."""
    with av.open(str(path)) as container:
        packets = sorted((p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size)
    return [n for n, (_, key) in enumerate(packets) if key and max(NEARBY) < n < len(packets) - max(NEARBY)]


def _around(firsts: Sequence[int]) -> set[int]:
    """The frames of the pairs that begin there, and of those nearby."""
    return {n + d for n in firsts for d in range(min(NEARBY) - 1, max(NEARBY) + 1)}


def _over_nearby(source: Frames, stylized: Frames, firsts: Sequence[int]) -> float:
    """The error of these pairs over that of pairs nearby."""
    beside = [n + d for n in firsts for d in NEARBY]
    return statistics.mean(_errors(source, stylized, firsts)) / statistics.mean(_errors(source, stylized, beside))


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
    ours, theirs = _errors(source, divided, seams), _errors(source, whole, seams)
    off = [float(np.abs(divided[n].astype(int) - whole[n]).mean()) for n in seams]
    found = {
        "seam_over_same_pair_undivided": statistics.mean(a / b for a, b in zip(ours, theirs, strict=True)),
        "worst_seam": max(a / b for a, b in zip(ours, theirs, strict=True)),
        "sum_over_sum": sum(ours) / sum(theirs),
        "difference_of_255": statistics.mean(off),
    }
    if nearby:
        found["seam_over_nearby_divided"] = _over_nearby(source, divided, seams)
        found["seam_over_nearby_undivided"] = _over_nearby(source, whole, seams)
    return {name: round(value, 4) for name, value in found.items()}


def _at_keyframes(video: Path, out: Path) -> dict[str, Any]:
    """How much the video that was stylized in one piece flickers where its encoder put keyframes. Every chunk begins with one."""
    keyframes = _keyframes(out)
    if not keyframes:
        return {"keyframes_undivided": 0}
    around = _around(keyframes)
    ratio = _over_nearby(_decoded(str(video), 0, around), _decoded(str(out), 0, around), keyframes)
    return {"keyframes_undivided": len(keyframes), "keyframe_over_nearby_undivided": round(ratio, 4)}


def seams(video: Path, scratch: Path, chunk_seconds: float, leads: Sequence[int]) -> dict[str, Any]:
    """The figures of one video: for both strengths, by lead without loss, and with the lead that is used as H.264 too."""
    worker, stylizer = Worker(models(), usable_cores()), load_stylizer(OPTIONS.style)
    given = Film(str(video), str(scratch / "out.mp4"), OPTIONS, None, facts_of(str(video)))
    divided = _Divided(worker, given, chunk_seconds)
    if not divided.seams:
        raise SystemExit(f"expected seams inside shots of {video.name}, found none")
    wanted = _around(divided.seams)
    source = _decoded(str(video), 0, wanted)
    found: dict[str, Any] = {"frames": divided.frames, "seams_inside_shots": len(divided.seams), "strengths": {}}
    for strength in ("light", "strong"):
        figures: dict[str, Any] = {"by_lead": {}}
        for codec in ("ffv1", "h264"):
            encode = EncodeOptions(codec=codec)
            options = replace(OPTIONS, stabilize=strength, encode=encode)
            divided.video = replace(given, output=str(scratch / f"out.{'mkv' if codec == 'ffv1' else 'mp4'}"))
            out = scratch / f"whole-{strength}{Path(divided.video.output).suffix}"
            convert(str(video), out, stylizer, options)
            whole = _decoded(str(out), 0, wanted)
            if codec == "h264":
                figures |= _at_keyframes(video, out)
            out.unlink()
            for lead in leads if codec == "ffv1" else (LEAD,):
                frames = divided.stylized(options, lead, wanted)
                compared = _compared(source, whole, frames, divided.seams, lead == LEAD)
                if codec == "ffv1":
                    figures["by_lead"][str(lead)] = compared
                if lead == LEAD:
                    figures[codec] = compared
                ratio = compared["seam_over_same_pair_undivided"]
                say(f"seams: {video.name}, {strength}, {codec}, lead {lead}: {ratio:.3f} of the undivided video's error")
        found["strengths"][strength] = figures
    return found
