"""Turns off what dependencies would send over the network on their own.

The package does this when it is imported, before any of its modules can import ONNX Runtime or Ray, and the processes that it
starts inherit the variables. They replace the user's values, because the README promises that nothing is sent.
"""

from __future__ import annotations

import os

_VARIABLES = {
    # Read when ONNX Runtime is imported; otherwise it writes a device ID into the user's cache, and sends events after 10 s.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def turn_off_telemetry() -> None:
    """Set the variables for this process and those that it starts."""
    os.environ.update(_VARIABLES)
