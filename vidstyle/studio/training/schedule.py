"""How far a training is, and what follows from that: the learning rate, how much temporal consistency counts, the end."""

from __future__ import annotations

import math

from vidstyle.core.options import TrainOptions

WARM_UP = 0.03
"""Part of the training, from the identity to the style anew, in which the learning rate rises."""
LOWEST_RATE = 0.02
FINISHING_SECONDS = 60.0
"""What a command of so many minutes keeps for norm statistics, export, check and exemplar."""


class Schedule:
    """A training of so many steps, or of a command that takes so many minutes.

    `startup`: seconds of the command that passed before the first step; they and what finishing takes are not trained in, but
    half of the minutes are in any case. A training from scratch begins with the identity: as large a part of it as
    `identity_steps` are beside `steps`.
    """

    def __init__(self, options: TrainOptions, from_scratch: bool, startup: float = 0.0) -> None:
        identity_steps = options.identity_steps if from_scratch else 0
        self._steps = identity_steps + options.steps
        self._ramp = options.consistency_ramp
        self.identity = identity_steps / self._steps
        self.steps = self._steps if options.minutes is None else None
        """None: as many as there is time for."""
        self._seconds = None
        if options.minutes is not None:
            self._seconds = max(60 * options.minutes - startup - FINISHING_SECONDS, 30 * options.minutes)

    def part(self, step: int, seconds: float) -> float:
        """How far the training is, 0 to 1, after so many steps that took so many seconds."""
        return min(1.0, step / self._steps if self._seconds is None else seconds / self._seconds)

    def in_identity(self, part: float) -> bool:
        """Whether the net learns to give back what it sees, not yet to paint."""
        return part < self.identity

    def learning_rate(self, part: float) -> float:
        """As a factor: warm-up, then cosine; once for the identity, once for the style."""
        first, last = (0.0, self.identity) if self.in_identity(part) else (self.identity, 1.0)
        done = (part - first) / (last - first)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, max(LOWEST_RATE, done / WARM_UP)) * (LOWEST_RATE + (1 - LOWEST_RATE) * cosine)

    def consistency(self, part: float) -> float:
        """As a factor, ramped in: from the first step on, it would keep strokes out of plain areas altogether."""
        done = (part - self.identity) / (1 - self.identity)
        return min(1.0, done / self._ramp) if self._ramp else 1.0
