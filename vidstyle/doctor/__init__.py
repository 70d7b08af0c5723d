"""Checks of what works on this machine, and why not.

`examine` runs the inspections in the table below. Those that could hang or crash run in separate processes (`isolation.py`),
which write only into a temporary folder. The first of these converts a clip, alone, so that its speed is realistic; the others
then run concurrently.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from vidstyle.core.concurrency import result_of
from vidstyle.doctor.checks import Check, Inspection, run_inspection
from vidstyle.doctor.isolation import IsolatedRunner

CONVERSION = "conversion"
"""The row of the main task; the other rows help to explain its failure."""

_CONCURRENCY = 3

_HANGS = Check(
    "windows and PyAV",
    "note",
    "OpenCV windows hang here after PyAV was imported; `vidstyle live` does not import PyAV in the window's process",
    "in your own programs, open the window first, or use PyAV in another process",
)

INSPECTIONS = (
    Inspection("python", "vidstyle.doctor.system:python"),
    Inspection("processor", "vidstyle.doctor.system:processor"),
    Inspection("memory", "vidstyle.doctor.system:memory"),
    Inspection("disk", "vidstyle.doctor.system:disk"),
    Inspection("packages", "vidstyle.doctor.packages:packages"),
    Inspection("conflicts", "vidstyle.doctor.packages:conflicts"),
    Inspection("extras", "vidstyle.doctor.packages:extras"),
    Inspection(CONVERSION, "vidstyle.doctor.conversion:conversion", 60),
    Inspection("libraries", "vidstyle.doctor.libraries:libraries", 20),
    Inspection("gpu", "vidstyle.doctor.gpu:gpu", 20),
    Inspection("cuda", "vidstyle.doctor.gpu:cuda", 60),
    Inspection("torch", "vidstyle.doctor.gpu:torch", 60),
    Inspection("styles", "vidstyle.doctor.models:styles", 60),
    Inspection("encoders", "vidstyle.doctor.encoders:software", 30),
    Inspection("hardware encoders", "vidstyle.doctor.encoders:hardware", 30),
    Inspection("cameras", "vidstyle.doctor.peripherals:cameras", 20),
    Inspection("virtual camera", "vidstyle.doctor.peripherals:virtual_camera", 20),
    Inspection("window", "vidstyle.doctor.screens:window", 10),
    Inspection(_HANGS.name, "vidstyle.doctor.screens:window_after_av", 5, _HANGS),
)


def examine(inspections: Iterable[Inspection], check: Callable[[], None] = lambda: None) -> Generator[Check, None, None]:
    """The checks of `inspections`, in their order, as soon as they are known. Closing the generator early leaves nothing running,
    nor does an exception of `check`, which is called several times a second.

    Raises `DiskError` if no temporary folder can be created.
    """
    inspections = list(inspections)
    isolated_inspections = [i for i in inspections if i.seconds is not None]
    # The processes are killed before the pool is closed, because its threads wait for their results.
    with ThreadPoolExecutor(_CONCURRENCY) as pool, closing(IsolatedRunner()) as runner:
        alone = {i.name: result_of(pool.submit(runner.run, i), check) for i in isolated_inspections if i.name == CONVERSION}
        others = {i.name: pool.submit(runner.run, i) for i in isolated_inspections if i.name not in alone}
        for inspection in inspections:
            if inspection.seconds is None:
                yield from run_inspection(inspection)
            elif inspection.name in alone:
                yield from alone[inspection.name]
            else:
                yield from result_of(others[inspection.name], check)


def can_convert(checks: Iterable[Check]) -> bool:
    """Whether videos can be converted on this machine."""
    return any(check.name == CONVERSION and check.state == "ok" for check in checks)
