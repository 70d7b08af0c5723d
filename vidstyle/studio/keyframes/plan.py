"""The plan of a clip: where its shots begin, and which of its frames are keyframes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import KeyframeOptions
from vidstyle.studio.keyframes.cuts import find_shots
from vidstyle.studio.keyframes.work_folder import WorkFolder, fingerprint, frame_name
from vidstyle.temporal.propagation import KeyframePicker

PLAN = "keyframes.json"


class ReportProgress(Protocol):
    """Receives progress: the current stage, how much of it is done, of how much, and the estimated seconds left."""

    def __call__(self, stage: str, done: int, total: int | None, seconds_left: float | None, /) -> None: ...


@dataclass(frozen=True)
class KeyframePlan:
    """The number of frames of a clip; the numbers, from 0 and ascending, of the first frames of shots, and of the keyframes."""

    frames: int
    shots: list[int]
    keyframes: list[int]

    def parent(self, number: int) -> int | None:
        """The keyframe that keyframe `number` is stylized from: the previous one in its shot."""
        before = max((n for n in self.keyframes if n < number), default=None)
        cut = before is not None and any(before < shot <= number for shot in self.shots)
        return None if cut else before


def choose_keyframes(
    folder: WorkFolder, open_frames: Callable[[], Iterator[Pixels]], origin: str, options: KeyframeOptions, report: ReportProgress
) -> KeyframePlan:
    """Find shots and keyframes and save the original keyframes, unless `folder` has them.

    `open_frames` opens the clip and yields its frames (H, W, 3); it is called for every pass. `origin` identifies the clip.
    Raises `UsageError` for keyframes that the clip does not have, `InputError` for a clip without frames.
    """
    made_from = fingerprint(origin, options.every, options.keyframes)
    if folder.made_from(PLAN) == made_from:
        plan = KeyframePlan(**folder.facts(PLAN))
        if all((folder.path / frame_name(n)).exists() for n in plan.keyframes):
            return plan

    def reported(stage: str, total: int | None) -> Iterator[Pixels]:
        for number, frame in enumerate(open_frames(), 1):
            report(stage, number, total, None)
            yield frame

    count, shots = find_shots(reported("looking for cuts", None))
    if not count:
        raise InputError("expected frames to stylize, got none")
    outside = [n for n in options.keyframes or () if not 0 <= n < count]
    if outside:
        raise UsageError(f"expected keyframes from 0 to {count - 1}, the clip's frames, got {', '.join(map(str, outside))}")
    chosen, picker = [], KeyframePicker()
    for number, frame in enumerate(reported("choosing keyframes", count)):
        if options.keyframes is not None:
            wanted = number in options.keyframes
        elif options.every is not None:
            wanted = (number - max(s for s in shots if s <= number)) % options.every == 0
        else:
            wanted = picker.is_keyframe(frame, number in shots)
        if wanted:
            chosen.append(number)
            folder.save_image(frame_name(number), frame, fingerprint(origin, number))
    plan = KeyframePlan(count, shots, chosen)
    folder.save_facts(PLAN, made_from, **asdict(plan))
    return plan
