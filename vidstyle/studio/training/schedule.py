"""The progress of a training, and the learning rate and weight of temporal consistency that follow from it."""

from __future__ import annotations

import math

from vidstyle.core.options import TrainOptions

WARM_UP = 0.03
"""Fraction of each phase, identity and style, in which the learning rate rises."""
LOWEST_RATE = 0.02
FINISHING_SECONDS = 60.0
"""Time that a command with a limit in minutes reserves for norm statistics, export, verification and exemplar."""


class Schedule:
    """A training of a number of steps, or of a command that takes a number of minutes.

    `startup`: seconds of the command before the first step. They and the time to finish are subtracted from the minutes, of
    which at least half are used for training. A training from scratch begins with an identity phase, whose fraction of the
    training is that of `identity_steps` in all steps.
    """

    def __init__(self, options: TrainOptions, from_scratch: bool, startup: float = 0.0) -> None:
        identity_steps = options.identity_steps if from_scratch else 0
        self._steps = identity_steps + options.steps
        self._ramp = options.consistency_ramp
        self.identity = identity_steps / self._steps
        self.steps = self._steps if options.minutes is None else None
        """None: as many as the time allows."""
        self._seconds = None
        if options.minutes is not None:
            self._seconds = max(60 * options.minutes - startup - FINISHING_SECONDS, 30 * options.minutes)

    def fraction(self, step: int, seconds: float) -> float:
        """The fraction of the training that is done, 0 to 1, after `step` steps that took `seconds`."""
        return min(1.0, step / self._steps if self._seconds is None else seconds / self._seconds)

    def in_identity(self, fraction: float) -> bool:
        """Whether the net is still learning to reproduce its input, before it learns to stylize."""
        return fraction < self.identity

    def learning_rate(self, fraction: float) -> float:
        """The factor of the learning rate: warm-up, then cosine; once for the identity phase, once for the style phase."""
        first, last = (0.0, self.identity) if self.in_identity(fraction) else (self.identity, 1.0)
        done = (fraction - first) / (last - first)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, max(LOWEST_RATE, done / WARM_UP)) * (LOWEST_RATE + (1 - LOWEST_RATE) * cosine)

    def consistency(self, fraction: float) -> float:
        """The factor of the temporal loss. It rises, because full weight from the start suppresses strokes in plain areas."""
        done = (fraction - self.identity) / (1 - self.identity)
        return min(1.0, done / self._ramp) if self._ramp else 1.0
