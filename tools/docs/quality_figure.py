"""The figure of tools/bench/quality.py's results: style distance against excess warping error, as SVG."""

from __future__ import annotations

from typing import Any

from tools.docs.log_axes import fraction, ticks

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 60
COLORS = {
    "udnie": "#3b6ea5",
    "great-wave": "#2a9d8f",
    "scream": "#d1603d",
    "mosaic": "#8a5a9e",
    "starry-night": "#24386b",
    "composition": "#b0892b",
    "water-lilies": "#6a8f3c",
    "ink": "#555555",
}
FLOOR = 3e-5
"""Smaller excesses are drawn here: the axis is logarithmic."""


def figure(nets: dict[str, dict[str, Any]]) -> str:
    """SVG of all networks as points, vidstyle's as discs, others as squares; both axes logarithmic, better to the lower left."""
    points = [(label, max(FLOOR, net["mean"]["excess_warping_error"]), net["mean"]["style"]) for label, net in nets.items()]
    x_range = (FLOOR, max(x for _, x, _ in points) * 1.4)
    y_range = (min(y for _, _, y in points) / 1.4, max(y for _, _, y in points) * 1.4)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * fraction(x, x_range),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fraction(y, y_range),
        )

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for axis, bounds in (("x", x_range), ("y", y_range)):
        for tick in ticks(bounds):
            x, y = place(tick, y_range[0]) if axis == "x" else place(x_range[0], tick)
            end = (x, TOP) if axis == "x" else (WIDTH - RIGHT, y)
            lines.append(f'<path d="M{x:.1f} {y:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="#ddd"/>')
            dx, dy, anchor = (0, 18, "middle") if axis == "x" else (-8, 4, "end")
            at = f'x="{x + dx:.1f}" y="{y + dy:.1f}" text-anchor="{anchor}"'
            lines.append(f'<text {at} fill="#555">{tick:g}</text>')
    middle = (HEIGHT - BOTTOM + TOP) / 2
    across, down = "excess warping error (less flicker to the left)", "style distance (closer to the style image below)"
    title = "Discs: vidstyle. Squares: other networks. Five DAVIS clips, 640x360."
    lines += [
        f'<text x="{(WIDTH - RIGHT + LEFT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">{across}</text>',
        f'<text x="20" y="{middle}" text-anchor="middle" transform="rotate(-90 20 {middle})">{down}</text>',
        f'<text x="{LEFT}" y="22" font-weight="bold">{title}</text>',
    ]
    taken: list[tuple[float, float]] = []
    for label, excess, style in sorted(points, key=lambda p: p[2]):
        x, y = place(excess, style)
        color = COLORS[label.split(",")[0]]
        if "vidstyle" in label:
            lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{color}"/>')
        else:
            at = f'x="{x - 6:.1f}" y="{y - 6:.1f}"'
            lines.append(f'<rect {at} width="12" height="12" fill="white" stroke="{color}" stroke-width="2.5"/>')
        text_y = y + 4
        while any(abs(text_y - other_y) < 13 and abs(x - other_x) < 190 for other_x, other_y in taken):
            text_y -= 13
        taken.append((x, text_y))
        lines.append(f'<text x="{x + 10:.1f}" y="{text_y:.1f}" fill="{color}">{label.replace(", vidstyle", "")}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
