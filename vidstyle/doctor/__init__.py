"""What works on this machine, and why not.

`examine` goes through the table below. What could hang or crash is looked at in processes of their own (`apart.py`), which
write into a temporary folder only. The first of them stylizes a clip, alone, so that its speed is true; the others then go on
side by side.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from vidstyle.doctor.checks import Check, Inspection, ask
from vidstyle.doctor.isolation import Apart

PAINTING = "painting"
"""The row of the main job, which all the others are there to explain."""

_SIDE_BY_SIDE = 3

_HANGS = Check(
    "windows and PyAV",
    "note",
    "OpenCV's windows hang here where PyAV was imported before; `vidstyle live` keeps it out of the window's process",
    "in a program of your own open the window first, or keep PyAV in another process",
)

INSPECTIONS = (
    Inspection("python", "vidstyle.doctor.system:python"),
    Inspection("processor", "vidstyle.doctor.system:processor"),
    Inspection("memory", "vidstyle.doctor.system:memory"),
    Inspection("disk", "vidstyle.doctor.system:disk"),
    Inspection("packages", "vidstyle.doctor.packages:packages"),
    Inspection("conflicts", "vidstyle.doctor.packages:conflicts"),
    Inspection("extras", "vidstyle.doctor.packages:extras"),
    Inspection(PAINTING, "vidstyle.doctor.conversion:painting", 60),
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


def examine(inspections: Iterable[Inspection]) -> Generator[Check, None, None]:
    """The rows of `inspections`, in their order, as soon as they are known. Nothing is left of it, also when it is closed early.

    Raises `DiskError` where there is no temporary folder.
    """
    inspections = list(inspections)
    apart_ones = [i for i in inspections if i.seconds is not None]
    # Closed in this order: first the processes are ended, for whose answers the pool's threads wait.
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool, closing(Apart()) as apart:
        alone = {i.name: apart.ask(i) for i in apart_ones if i.name == PAINTING}
        others = {i.name: pool.submit(apart.ask, i) for i in apart_ones if i.name not in alone}
        for inspection in inspections:
            if inspection.seconds is None:
                yield from ask(inspection)
            elif inspection.name in alone:
                yield from alone[inspection.name]
            else:
                yield from others[inspection.name].result()


def can_paint(checks: Iterable[Check]) -> bool:
    """Whether the main job, to paint a video, can be done here."""
    return any(check.name == PAINTING and check.state == "ok" for check in checks)
