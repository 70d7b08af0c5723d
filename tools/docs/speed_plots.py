"""Plots of the results of tools/bench/speed.py as SVG: frames per second by pixels, seconds by frames, the time of each stage.

python -m tools.docs.speed_plots [tools/bench/results/bench.json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.docs.log_axes import fraction, ticks

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 220, 40, 60
OURS = "#d1603d"
PEERS = {"onnxruntime": "#3b6ea5", "onnxruntime_folded": "#2a9d8f", "torch_eager": "#8a5a9e", "opencv_dnn": "#b0892b"}
STAGES = {"decode": "#2a9d8f", "net": OURS, "encode": "#3b6ea5"}
BAR, GAP = 34, 26
LABEL_HEIGHT = 15

Points = list[tuple[float, float]]


def plots(bench: Mapping[str, Any]) -> dict[str, str]:
    """File name -> SVG."""
    drawn = {"bench_stages.svg": stages_plot(bench["sizes"])}
    if "sweep" in bench:
        drawn["bench_sizes.svg"] = sizes_plot(bench)
        drawn["bench_lengths.svg"] = lengths_plot(bench["sweep"])
    return drawn


def sizes_plot(bench: Mapping[str, Any]) -> str:
    """Frames per second by pixels, ours and the peers'."""
    lines = [("vidstyle", OURS, [(r["pixels"], r["fps"]) for r in bench["sweep"]["sizes"].values()])]
    for name, peer in bench.get("peers", {}).items():
        points = [(_pixels(size), peer[size]["fps"]) for size in bench["sizes"] if "fps" in peer[size]]
        if points:
            lines.append((peer["label"].removeprefix("full TransformerNet, "), PEERS[name], points))
    title = f"End to end. Time grows with pixels to the power of {bench['sweep']['exponent_pixels']:.2f}"
    return log_plot(title, "pixels per frame", "frames per second", lines)


def lengths_plot(sweep: Mapping[str, Any]) -> str:
    """Seconds by frames."""
    points = [(r["frames"], r["seconds"]) for r in sweep["lengths"].values()]
    title = f"Time grows with frames to the power of {sweep['exponent_frames']:.2f}"
    return log_plot(title, "frames", "seconds", [("vidstyle", OURS, points)])


def log_plot(title: str, across: str, up: str, lines: Sequence[tuple[str, str, Points]]) -> str:
    """Lines (label, colour, points) on two logarithmic axes; labels are to the right of the last points."""
    xs, ys = ([p[axis] for _, _, points in lines for p in points] for axis in (0, 1))
    x_range, y_range = (min(xs) / 1.2, max(xs) * 1.2), (min(ys) / 1.5, max(ys) * 1.5)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * fraction(x, x_range), bottom - (bottom - TOP) * fraction(y, y_range)

    drawn = []
    for tick in ticks(x_range):
        x = place(tick, y_range[0])[0]
        drawn += [_line([(x, bottom), (x, TOP)], "#ddd", 1), _text(x, bottom + 18, _short(tick), "middle", "#555")]
    for tick in ticks(y_range):
        y = place(x_range[0], tick)[1]
        drawn += [_line([(LEFT, y), (right, y)], "#ddd", 1), _text(LEFT - 8, y + 4, _short(tick), "end", "#555")]
    ends = []
    for label, color, points in lines:
        placed = [place(*p) for p in sorted(points)]
        drawn.append(_line(placed, color, 2))
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in placed]
        ends.append((placed[-1][1], label, color))
    drawn += [_text(right + 12, y, label, "start", color) for y, label, color in _spaced(ends)]
    middle = (TOP + bottom) / 2
    drawn += [
        _text((LEFT + right) / 2, HEIGHT - 16, across, "middle", "#000"),
        f'<text x="20" y="{middle}" text-anchor="middle" transform="rotate(-90 20 {middle})">{up}</text>',
    ]
    return _svg(title, drawn, HEIGHT)


def stages_plot(sizes: Mapping[str, Any]) -> str:
    """A bar for each size: processor time of each stage, measured alone."""
    drawn, y = [], float(TOP)
    for name, result in sizes.items():
        times = {stage: 1000 * result["stages"][stage]["cpu"] / result["frames"] for stage in STAGES}
        x, unit = float(LEFT), (WIDTH - LEFT - 40) / sum(times.values())
        drawn.append(_text(LEFT - 8, y + BAR / 2 + 4, name, "end", "#000"))
        for stage, milliseconds in times.items():
            width = milliseconds * unit
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{STAGES[stage]}"/>')
            if width > 110:
                drawn.append(_text(x + width / 2, y + BAR / 2 + 4, f"{stage} {milliseconds:.1f} ms", "middle", "#fff"))
            x += width
        y += BAR + GAP
    legend = float(LEFT)
    for stage, color in STAGES.items():
        drawn += [f'<rect x="{legend}" y="{y}" width="12" height="12" fill="{color}"/>', _text(legend + 18, y + 11, stage)]
        legend += 90
    return _svg("Processor time per frame, each stage measured alone", drawn, y + 30)


def _svg(title: str, drawn: Iterable[str], height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-weight="bold">{title}</text>',
    )
    return "\n".join([*head, *drawn, "</svg>"]) + "\n"


def _line(points: Sequence[tuple[float, float]], color: str, width: float) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = "#000") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{text}</text>'


def _spaced(labels: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels at their heights, moved down where they would overlap."""
    placed: list[tuple[float, str, str]] = []
    for y, label, color in sorted(labels):
        y = max(y + 4, placed[-1][0] + LABEL_HEIGHT if placed else 0)
        placed.append((y, label, color))
    return placed


def _short(number: float) -> str:
    return f"{number / 1e6:g} M" if number >= 1e6 else f"{number:g}"


def _pixels(size: str) -> int:
    width, height = size.split("x")
    return int(width) * int(height)


def write_plots(bench: Mapping[str, Any], folder: Path) -> None:
    """Draw all plots into `folder`."""
    for name, svg in plots(bench).items():
        (folder / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "bench" / "results" / "bench.json"
    write_plots(json.loads(results.read_text("utf-8")), results.parent)
