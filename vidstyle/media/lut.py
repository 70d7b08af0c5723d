"""Three-dimensional look-up tables for functions of a pixel's colour, applied to frames by FFmpeg's `lut3d`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vidstyle.core.files import writing
from vidstyle.core.temporary_folder import TemporaryFolder

Colors = NDArray[np.float64]
"""R, G, B, shape (..., 3): luminance in cd/m2, or a signal from 0 to 1."""

PLANAR = "gbrp16le"
"""The pixel format of frames that are looked up."""

_GRID = 65
"""Nodes of a table along each side."""


class LookUpTables:
    """Applies functions from signal to signal to frames, one after the other. They are tabulated for the first frame."""

    def __init__(self, *functions: Callable[[Colors], Colors]) -> None:
        self._functions = functions
        self._cubes: list[str] = []
        self._graph, self._size = Graph(), (0, 0)

    def look_up(self, frame: VideoFrame) -> VideoFrame:
        """`frame` and the result have the format `PLANAR`."""
        if self._size != (frame.width, frame.height):
            self._graph, self._size = self._build(frame.width, frame.height), (frame.width, frame.height)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, width: int, height: int) -> Graph:
        self._cubes = self._cubes or [_cube(function) for function in self._functions]
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(width=width, height=height, format=VideoFormat(PLANAR), time_base=Fraction(1, 1000))
        graph.link_nodes(source, *(_lookup(graph, cube) for cube in self._cubes), graph.add("buffersink")).configure()
        return graph


def _cube(function: Callable[[Colors], Colors]) -> str:
    """The text of a .cube file: a line for each node, red changes fastest (Adobe's Cube LUT Specification 1.0)."""
    steps = np.linspace(0, 1, _GRID)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    values = function(np.stack([red, green, blue], -1)).reshape(-1).tolist()
    lines = "%.6f %.6f %.6f\n" * _GRID**3 % tuple(values)
    return f"LUT_3D_SIZE {_GRID}\n{lines}"


def _lookup(graph: Graph, cube: str) -> FilterContext:
    """A filter that applies `cube`. It reads the table immediately, and only from a file."""
    with TemporaryFolder() as folder:
        path = folder / "table.cube"
        with writing(path):
            path.write_text(cube, "ascii")
        return graph.add("lut3d", file=str(path), interp="tetrahedral")


def planes(frame: VideoFrame) -> list[NDArray[np.uint16]]:
    """Views (H, W) of the planes of a frame of format `PLANAR`: green, blue, red."""
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(cast(Any, plane), np.uint16).reshape(plane.height, -1)
        found.append(rows[:, : plane.width])
    return found
