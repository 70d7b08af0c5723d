"""Fixtures of the command line's tests; signals and logging are restored after each."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from tests.support.optimization import folder as folder
from tests.support.optimization import refuses as refuses

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signals_and_log() -> Iterator[None]:
    handlers, signals = logging.root.handlers[:], [(n, signal.getsignal(n)) for n in SIGNALS]
    yield
    logging.root.handlers[:] = handlers
    for number, handler in signals:
        signal.signal(number, handler)
