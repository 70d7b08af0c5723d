"""Draw and encode the sample clip: a sailing boat crossing a bay at golden hour, with a calm tune.

Everything is procedural and seeded, so the clip carries no third-party material. Images are drawn at
``SS`` times the output size and area-averaged down, which antialiases every layer alike. Textures are baked
into layers once and only moved afterwards, so nothing flickers. Unless noted, pixel units are supersampled
pixels, colours are RGB floats in 0..1, and layers are premultiplied float32 RGBA arrays (h, w, 4).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]  # float32 throughout
Sheet = NDArray[np.uint8]
Rng = np.random.Generator

WIDTH, HEIGHT, FPS, FRAMES, RATE = 640, 360, 25, 150, 48_000
CRF = 23  # keeps the clip below 1 MB
SS = 2
CW, CH = WIDTH * SS, HEIGHT * SS
PAD = 150  # spare columns on either side of a layer, used up by the pan
LW = CW + 2 * PAD
PAN = 90.0  # half of the pan's travel at depth 1
HORIZON = 372
ROWS = CH - HORIZON  # rows of water
SUN = (800.0, 292.0)
SUN_DEPTH = 0.40
LAND_LINE, ISLE_LINE, BOAT_LINE = HORIZON + 26, HORIZON + 12, HORIZON + 160  # waterlines, screen rows
BOAT_SIZE, BOAT_KEEL = 440, 392  # sprite side and its waterline row
# Gulls: column and row at the start, half-span, columns per second, wing phase.
GULLS = ((330, 130, 22, 26, 0.0), (395, 165, 15, 24, 1.3), (560, 92, 18, 30, 2.4), (700, 190, 11, 18, 4.0))
SUB = 16  # cv2 draws with 4 fractional bits


def rgb(code: str) -> Array:
    """Colour (3,) from ``rrggbb``."""
    return np.frombuffer(bytes.fromhex(code), np.uint8).astype(np.float32) / 255


HAZE, WARM, SHADE = rgb("f3cfae"), rgb("ffe2a8"), rgb("4a4a78")


def f32(values: object) -> Array:
    """``values`` as a float32 array."""
    return np.asarray(values, np.float32)


def mix(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> Array:
    """Blend ``a`` to ``b`` by ``t``; a field ``t`` (h, w) with colours gives (h, w, 3)."""
    a, b, t = f32(a), f32(b), f32(t)
    t = t[..., None] if t.ndim else t
    return a + (b - a) * t


def smooth(lo: float, hi: float, x: ArrayLike) -> Array:
    """Smoothstep of ``x`` from ``lo`` to ``hi``."""
    t = np.clip((f32(x) - lo) / (hi - lo), 0, 1)
    return t * t * (3 - 2 * t)


def fbm(rng: Rng, h: int, w: int, cell: tuple[float, float], octaves: int = 5, gain: float = 0.5) -> Array:
    """Fractal value noise (h, w) in 0..1; ``cell`` is the coarsest (row, column) feature size in pixels."""
    total = np.zeros((h, w), np.float32)
    for i in range(octaves):
        grid = [min(n, int(n / c * 2**i)) + 2 for n, c in zip((h, w), cell, strict=True)]
        total += gain**i * cv2.resize(rng.random(grid, np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return (total - total.min()) / (total.max() - total.min())


@cache
def grain() -> Array:
    """Shared brush-like surface texture (CH, LW) in -1..1."""
    return fbm(np.random.default_rng(99), CH, LW, (14, 22), 4, 0.7) * 2 - 1


def shift(tex: Array, dx: float, dy: float) -> Array:
    """``tex`` seen ``dx`` columns and ``dy`` rows further on."""
    matrix = f32([[1, 0, -dx], [0, 1, -dy]])
    return cv2.warpAffine(tex, matrix, tex.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def sunward(tex: Array, dx: float, dy: float) -> Array:
    """Layer-wide ``tex`` seen ``dx`` columns nearer to the sun; what drops away in that direction is lit."""
    side = smooth(-260, 260, SUN[0] + PAD - np.arange(LW))  # no seam below the sun
    return shift(tex, -dx, dy) * (1 - side) + shift(tex, dx, dy) * side


def over(dst: Array, src: Array) -> None:
    """Composite premultiplied ``src`` (h, w, 4) onto ``dst`` (h, w, 3 or 4), in place."""
    dst *= 1 - src[..., 3:]
    dst += src[..., : dst.shape[2]]


def premultiply(colour: Array, alpha: Array) -> Array:
    """Layer (h, w, 4) from a colour field (h, w, 3) and coverage (h, w)."""
    return np.dstack([np.clip(colour, 0, 1) * alpha[..., None], alpha]).astype(np.float32)


def ink(colour: Array, gain: float = 1.0) -> tuple[int, ...]:
    """Opaque cv2 colour; antialiased drawing on a cleared sheet then leaves premultiplied pixels."""
    return (*(int(v) for v in np.clip(colour * gain, 0, 1) * 255), 255)


def sub(points: ArrayLike) -> NDArray[np.int32]:
    """Fixed-point coordinates for cv2's ``shift=4`` drawing."""
    return np.round(np.asarray(points, np.float64) * SUB).astype(np.int32)


def poly(sheet: Sheet, points: ArrayLike, colour: tuple[int, ...] | int) -> None:
    """Flat antialiased polygon (n, 2)."""
    cv2.fillPoly(sheet, [sub(points)], colour, cv2.LINE_AA, 4)


def dot(sheet: Sheet, x: float, y: float, r: float, colour: tuple[int, ...]) -> None:
    """Flat antialiased disc."""
    cv2.circle(sheet, sub((x, y)).tolist(), int(r * SUB), colour, -1, cv2.LINE_AA, 4)


def fill(
    px: Array, points: ArrayLike, c0: Array, c1: Array, axis: Sequence[float] = (0, 1), rough: float = 0.1, alpha: float = 1.0
) -> None:
    """Polygon (n, 2) on layer ``px`` shaded from ``c0`` to ``c1`` along ``axis``, with surface grain."""
    pts = f32(points)
    lo = np.maximum(np.floor(pts.min(0)).astype(int) - 2, 0)
    hi = np.minimum(np.ceil(pts.max(0)).astype(int) + 3, px.shape[1::-1])
    if (hi <= lo).any():
        return
    box = np.s_[lo[1] : hi[1], lo[0] : hi[0]]
    mask = np.zeros((hi[1] - lo[1], hi[0] - lo[0]), np.uint8)
    poly(mask, pts - lo, 255)
    yy, xx = np.mgrid[box].astype(np.float32)
    span = pts @ f32(axis)
    t = np.clip((xx * axis[0] + yy * axis[1] - span.min()) / max(np.ptp(span), 1e-3), 0, 1)
    colour = mix(c0, c1, t) * (1 + rough * grain()[box][..., None])
    over(px[box], premultiply(colour, mask / np.float32(255) * alpha))


def puff(sheet: Sheet, at: tuple[float, float], r: float, dark: Array, light: Array, rng: Rng, side: float = 1.0) -> None:
    """Round tuft of foliage, lit from the right (``side`` 1) or the left (-1)."""
    for i in range(7):
        t = i / 6
        x, y = at[0] + rng.normal(side * t * 0.35, 0.32) * r, at[1] + rng.normal(-t * 0.4, 0.25) * r
        dot(sheet, x, y, r * (0.75 - 0.5 * t), ink(mix(dark, light, t * t), rng.uniform(0.9, 1.1)))


def as_layer(sheet: Sheet) -> Array:
    """Float layer from a drawing sheet (h, w, 4)."""
    return sheet.astype(np.float32) / 255


# ---- sky and hills -------------------------------------------------------------------------------------


def sky() -> Array:
    """Opaque sky (HORIZON, LW, 4) with the sun and its glow."""
    yy, xx = np.mgrid[0:HORIZON, 0:LW].astype(np.float32)
    stops = np.stack([rgb(c) for c in ("2f6ea8", "6aa6c8", "bcc9c4", "f6cf9b", "ffb877")])
    rows = [np.interp(yy[:, 0] / HORIZON, (0, 0.35, 0.62, 0.85, 1), stops[:, c]) for c in range(3)]
    colour = np.repeat(np.stack(rows, -1)[:, None].astype(np.float32), LW, 1)
    d = np.hypot(xx - SUN[0] - PAD, (yy - SUN[1]) * 1.15)
    for reach, strength in ((330, 0.42), (110, 0.35), (48, 0.35)):
        colour = mix(colour, WARM, np.exp(-d / reach) * strength)
    colour = mix(colour, rgb("fff6d6"), smooth(40, 28, d))
    return premultiply(colour, np.ones_like(d))


def clouds(seed: int, cell: tuple[float, float], band: tuple[float, float], cover: float) -> Array:
    """Cloud layer (HORIZON, LW, 4) around row ``band[0]`` with half-height ``band[1]``."""
    n = fbm(np.random.default_rng(seed), HORIZON, LW, cell, 6, 0.52)
    yy, xx = np.mgrid[0:HORIZON, 0:LW].astype(np.float32)
    n = n - 0.32 * ((yy - band[0]) / band[1]) ** 2
    density = smooth(cover, cover + 0.16, n)
    dx = SUN[0] + PAD - xx
    # Towards the sun the cloud thins out: that side is lit; the difference is a cheap slope.
    lit = np.clip(0.52 + 3.4 * (n - sunward(n, 16, 8)), 0, 1)
    near = np.exp(-np.hypot(dx, yy - SUN[1]) / 420)
    colour = mix(mix(rgb("8d88ab"), rgb("d79a8e"), smooth(60, 330, yy)), rgb("fff1d8"), lit)
    return premultiply(mix(colour, WARM, near * 0.45), density * 0.92)


def hills(seed: int, heights: Sequence[float], wood: tuple[Array, Array], haze: float, trees: int) -> Array:
    """Range of hills (CH, LW, 4); ``heights`` are skyline knots above the horizon, left to right."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:CH, 0:LW].astype(np.float32)
    knots = np.interp(np.arange(LW), np.linspace(0, LW, len(heights)), heights)
    knots = cv2.GaussianBlur(knots.astype(np.float32)[None], (0, 0), 22)[0]
    crag = fbm(rng, 2, LW, (2, 190), 6, 0.5)[0] - 0.5
    top = HORIZON - knots * (1 + 0.75 * crag)
    relief = fbm(rng, CH, LW, (150, 120), 6, 0.56)
    relief = 1 - np.abs(2 * relief - 1)  # ridged noise reads as spurs and gullies
    slope = relief - sunward(relief, 7, -3)
    lit = np.clip(0.42 + 3.6 * slope + 0.10 * grain(), 0, 1)
    colour = mix(*wood, lit)
    depth = smooth(0, 1, (yy - top) / np.maximum(HORIZON + 10 - top, 8))
    layer = premultiply(colour, np.clip(yy - top + 0.5, 0, 1))
    sheet = np.zeros((CH, LW, 4), np.uint8)
    spots = np.stack([rng.uniform(0, LW, trees), rng.uniform(0, 1, trees) ** 0.8], 1)
    for x, v in spots[np.argsort(spots[:, 1])]:
        y = top[int(x)] + 2 + v * (HORIZON + 8 - top[int(x)])
        shine = float(lit[int(min(y, CH - 1)), int(x)])
        puff(
            sheet,
            (x, y),
            3.5 + 4.5 * v,
            wood[0] * (0.65 + 0.3 * shine),
            mix(*wood, 0.25 + 0.8 * shine),
            rng,
            1 if x < SUN[0] + PAD else -1,
        )
    over(layer, as_layer(sheet))
    glow = np.exp(-np.abs(xx - SUN[0] - PAD) / 260)
    veil = np.clip(haze + 0.30 * depth + 0.28 * glow, 0, 0.93)
    air = mix(mix(rgb("b9b6cc"), HAZE, depth), rgb("ffd79c"), glow)
    return premultiply(mix(layer[..., :3] / np.maximum(layer[..., 3:], 1e-3), air, veil), layer[..., 3])


# ---- headland, village, lighthouse ---------------------------------------------------------------------


def land_top(x: ArrayLike) -> Array:
    """Skyline row of the headland at layer column ``x``."""
    xs = (0, 150, 260, 380, 480, 560, 600, 640, 676, 700)
    ys = (236, 250, 272, 300, 318, 318, 322, 336, 374, LAND_LINE + 4)
    return np.interp(f32(x), xs, ys).astype(np.float32)


def house(px: Array, x: float, y: float, s: float, wall: Array, roof: Array) -> None:
    """House with its gable in shade on the left and its long wall lit from the right; ``s`` pixels wide."""
    g, w, h, p = 0.42 * s, 0.58 * s, 0.42 * s, 0.34 * s
    fill(
        px,
        [(x - 0.5 * s, y + 3), (x + s * 0.2, y - 3), (x + s, y), (x + 0.3 * s, y + 6)],
        rgb("25372f"),
        rgb("25372f"),
        alpha=0.55,
    )
    shade = mix(wall, SHADE, 0.62)
    fill(px, [(x, y), (x, y - h), (x + g / 2, y - h - p), (x + g, y - h), (x + g, y)], shade * 1.1, shade * 0.8)
    fill(px, [(x + g, y), (x + g, y - h), (x + s, y - h * 0.96), (x + s, y - 2)], mix(wall, WARM, 0.4), wall * 0.86)
    eave, ridge = (x + g - 1.5, y - h + 2), (x + g / 2, y - h - p)
    far = np.array([w + 3, 1.5])
    quad: list[Any] = [ridge, np.add(ridge, far * 0.96), np.add(eave, far), eave]
    fill(px, quad, mix(roof, WARM, 0.32), roof * 0.78, rough=0.3)
    for t in (0.3, 0.55, 0.8):  # courses of tiles
        a = mix(ridge, eave, t)
        course: list[Any] = [a, a + far * 0.97, a + far * 0.97 + (0, 0.9), (*a, 0, 0.9)]
        fill(px, course, roof * 0.55, roof * 0.6, alpha=0.7)
    verge = f32([(x - 2, y - h + 2), ridge, np.add(ridge, (0, 2.4)), (x - 1, y - h + 4)])
    fill(px, verge, roof * 0.6, roof * 0.5)
    cx, cy = x + g / 2 + 0.3 * w, y - h - p
    fill(px, [(cx, cy + 5), (cx, cy - 6), (cx + 5, cy - 6), (cx + 5, cy + 5)], roof * 0.5, wall * 0.8, (1, 0))
    for wx, tint in ((x + g * 0.36, "ffcf7a"), (x + g + w * 0.2, "3f5468"), (x + g + w * 0.6, "55707f")):
        frame = np.array([(0, 0), (s * 0.11, 0), (s * 0.11, -s * 0.16), (0, -s * 0.16)])
        fill(px, frame * 1.3 + (wx - 1, y - h * 0.34 + 1), wall * 1.1, wall, rough=0)
        fill(px, (*frame, wx, y - h * 0.34), rgb(tint) * 1.1, rgb(tint) * 0.75, rough=0)


def lighthouse(px: Array, x: float, y: float, h: float) -> None:
    """White tower with red bands, rounded by horizontal shading, standing at (x, y)."""
    for i in range(5):
        a, b = i / 5, (i + 1) / 5
        wa, wb = (13 - 5 * t for t in (a, b))
        body = rgb("f4ead8") if i % 2 == 0 else rgb("c8402f")
        dark = mix(body, SHADE, 0.6)
        ya, yb = y - h * a, y - h * b
        fill(px, [(x - wa, ya), (x - wb, yb), (x + wb * 0.35, yb), (x + wa * 0.35, ya)], dark, body, (1, 0), 0.06)
        fill(px, [(x + wa * 0.3, ya), (x + wb * 0.3, yb), (x + wb, yb), (x + wa, ya)], body, mix(body, WARM, 0.5), (1, 0), 0.06)
    top = y - h
    fill(px, [(x - 12, top), (x - 12, top - 4), (x + 12, top - 4), (x + 12, top)], rgb("3b3846"), rgb("8d7460"), (1, 0))
    fill(px, [(x - 6, top - 4), (x - 6, top - 19), (x + 6, top - 19), (x + 6, top - 4)], rgb("ffdf8e"), rgb("fff6d8"))
    fill(px, [(x - 9, top - 18), (x, top - 30), (x + 9, top - 18)], rgb("7d2b2b"), rgb("d9603f"), (1, 0))


def headland() -> Array:
    """Left shore (CH, LW, 4): meadow and cliff, wood, village and lighthouse."""
    rng = np.random.default_rng(21)
    yy, _xx = np.mgrid[0:CH, 0:LW].astype(np.float32)
    top = land_top(np.arange(LW)) + 8 * (fbm(rng, 2, LW, (2, 50), 4)[0] - 0.5)
    cliff = LAND_LINE - 26 + 40 * (fbm(rng, 2, LW, (2, 60), 4)[0] - 0.55)
    patch, strata = fbm(rng, CH, LW, (30, 70)), fbm(rng, CH, LW, (40, 14), 5, 0.6)
    meadow = mix(rgb("3c6138"), rgb("b5b254"), np.clip(patch * 1.5 - 0.35 + 0.2 * grain(), 0, 1))
    lit = np.clip(0.45 + 5 * (strata - shift(strata, 5, -2)), 0, 1)
    rock = mix(rgb("4c3f4d"), rgb("d9a77c"), lit) * (1.1 - 0.5 * smooth(-14, 4, yy - LAND_LINE))[..., None]
    colour = mix(meadow, rock, smooth(-3, 3, yy - np.maximum(cliff, top + 3)))
    shore = LAND_LINE + 3 * (fbm(rng, 2, LW, (2, 24), 3)[0] - 0.5)
    px = premultiply(colour, np.clip(yy - top + 0.5, 0, 1) * np.clip(shore - yy + 0.5, 0, 1))

    def grove(n: int, rows: tuple[float, float], cols: tuple[float, float], size: float) -> None:
        sheet = np.zeros((CH, LW, 4), np.uint8)
        for v in np.sort(rng.uniform(*rows, n)):
            x = rng.uniform(*cols)
            y = float(land_top(x)) + v * (LAND_LINE - 26 - float(land_top(x)))
            dark, light = rgb("1f4034"), mix(rgb("7f9a3e"), rgb("d0b648"), rng.random())
            puff(sheet, (x, y - size * 0.4), size * rng.uniform(0.6, 1.1), dark, light, rng)
        over(px, as_layer(sheet))

    grove(190, (-0.06, 0.2), (0, 500), 15)
    walls, roofs = ("f3e2c4", "efd3b0", "e9dcd2", "f0c9a0"), ("c14a2f", "b03a2c", "d2693a", "9c3f35")
    for row, n in ((0.22, 5), (0.48, 6), (0.74, 7)):
        for x in np.linspace(40 + 60 * row, 330 + 230 * row, n) + rng.uniform(-9, 9, n):
            y = float(land_top(x)) + row * (LAND_LINE - 20 - float(land_top(x))) + rng.uniform(-4, 4)
            house(px, x, y + 6, 38 + 22 * row + rng.uniform(-4, 6), rgb(rng.choice(walls)), rgb(rng.choice(roofs)))
        grove(26, (row + 0.08, row + 0.2), (0, 400 + 180 * row), 8)
    lighthouse(px, 612, float(land_top(612)) + 8, 128)
    grove(14, (0.1, 0.3), (560, 650), 6)
    for x, r in zip(rng.uniform(560, 735, 26), rng.uniform(4, 15, 26), strict=True):  # boulders at the tip
        ring = [
            (x + r * 1.5 * np.cos(a) * k, LAND_LINE + 3 - max(0, r * np.sin(a)) * k)
            for a, k in zip(np.linspace(0, 2 * np.pi, 11), rng.uniform(0.75, 1.1, 11), strict=True)
        ]
        fill(px, ring, rgb("43394a"), rgb("d0a181"), (1, -0.6), 0.35)
    veil = 0.16 * px[..., 3:]
    px[..., :3] = px[..., :3] * 0.84 + mix(rgb("c3b7c4"), HAZE, 0.6) * veil
    return px


# ---- boat ----------------------------------------------------------------------------------------------


def curve(a: ArrayLike, b: ArrayLike, bow: ArrayLike, n: int = 24) -> Array:
    """Points (n, 2) from ``a`` to ``b``, displaced by ``bow`` in the middle."""
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    return f32(a) * (1 - t) + f32(b) * t + f32(bow) * np.sin(np.pi * t)


def sail(
    px: Array,
    tack: Sequence[float],
    head: Sequence[float],
    clew: Sequence[float],
    bow: float,
    dyes: tuple[str, str],
    stripes: int,
) -> None:
    """Wind-filled striped sail; ``bow`` is how far the free edge bellies out, in pixels."""
    outline = np.concatenate([curve(tack, head, (0, 0)), curve(head, clew, (bow, 0)), curve(clew, tack, (0, 9))])
    mask = np.zeros(px.shape[:2], np.uint8)
    poly(mask, outline, 255)
    yy, xx = np.mgrid[0 : px.shape[0], 0 : px.shape[1]].astype(np.float32)
    base = np.linalg.inv(f32([np.subtract(head, tack), np.subtract(clew, tack)]).T)
    v = base[0, 0] * (xx - tack[0]) + base[0, 1] * (yy - tack[1])
    u = base[1, 0] * (xx - tack[0]) + base[1, 1] * (yy - tack[1])
    u = np.clip(u / np.maximum(1 - v, 0.05), 0, 1.2)
    bend = v - 0.05 * np.sin(np.pi * np.clip(u, 0, 1))  # stripes sag with the belly of the cloth
    band = np.clip(np.sin(2 * np.pi * stripes * bend) * 5 + 0.5, 0, 1)
    belly = np.sin(np.pi * np.clip(0.12 + 0.85 * u, 0, 1))
    cloth = mix(rgb(dyes[0]), rgb(dyes[1]), band)
    weave = 0.05 * grain()[: px.shape[0], : px.shape[1]]
    light = 0.50 + 0.52 * belly + 0.10 * v + 0.05 * np.sin(9 * u + 14 * v) + weave
    colour = mix(cloth * mix(rgb("8f7fae"), np.ones(3), np.clip(light, 0, 1)), WARM, 0.30 * belly**3)
    seam = np.exp(-((((bend * stripes * 2) % 1 - 0.5) * 14) ** 2)) * 0.14
    over(px, premultiply(colour * (1 - seam[..., None]), mask / np.float32(255)))


def boat() -> Array:
    """Boat sprite (BOAT_SIZE, BOAT_SIZE, 4), sailing to the right, cut off at its waterline."""
    px = np.zeros((BOAT_SIZE, BOAT_SIZE, 4), np.float32)
    wood, dark = rgb("b87542"), rgb("4a2c2a")

    def spar(a: Sequence[float], b: Sequence[float], r: float) -> None:
        n = np.array([b[1] - a[1], a[0] - b[0]], float)
        n *= r / np.hypot(*n)
        fill(px, [a - n, a + n, b + n * 0.6, b - n * 0.6], dark, mix(wood, WARM, 0.5), (1, -0.3))

    spar((345, 330), (426, 308), 3)
    spar((214, 340), (214, 14), 4)
    for a, b in (((214, 16), (424, 309)), ((214, 16), (52, 338)), ((214, 70), (250, 340))):
        spar(a, b, 0.9)
    sail(px, (418, 306), (219, 36), (282, 312), -16, ("2f7d86", "f4e6c6"), 4)
    sail(px, (352, 322), (218, 74), (232, 320), -14, ("e0a23a", "fbeecb"), 4)
    sail(px, (208, 316), (208, 24), (50, 322), -30, ("cf3f2a", "f7e4c0"), 5)
    spar((214, 322), (44, 328), 3.2)
    poly(
        flag := np.zeros((BOAT_SIZE, BOAT_SIZE, 4), np.uint8),
        [*curve((214, 14), (168, 20), (0, 5)).tolist(), (176, 27), (214, 30)],
        ink(rgb("e7b53c")),
    )
    over(px, as_layer(flag))
    fill(px, [(150, 350), (154, 326), (204, 324), (208, 350)], rgb("e9d9bd") * 0.7, rgb("fff0d2"), (1, 0))
    for x, coat in ((98, "2f5f8f"), (124, "c9503a")):  # the crew
        fill(px, curve((x - 8, 350), (x + 8, 350), (0, -27)), rgb(coat) * 0.6, mix(rgb(coat), WARM, 0.35), (1, 0))
        head = [(x + 1 + 5 * np.cos(a), 319 + 6 * np.sin(a)) for a in np.linspace(0, 6.3, 16)]
        fill(px, head, rgb("8a5a44"), rgb("f2c39a"), (1, 0))
        fill(px, [(x - 6, 316), (x - 3, 311), (x + 5, 311), (x + 8, 316)], rgb("c99b4f"), rgb("f7dc8f"), (1, 0))
    sheer = curve((38, 332), (394, 316), (0, 19))
    keel = curve((352, 404), (78, 404), (0, 4))

    def strake(t0: float, t1: float) -> Array:
        return np.concatenate([mix(sheer, keel[::-1], t0), mix(sheer, keel[::-1], t1)[::-1]])

    fill(px, strake(0, 1), rgb("7a3f2c"), rgb("3a2230"), rough=0.25)
    fill(px, strake(0, 0.36), rgb("b08f7c"), rgb("fff3dc"), (1, 0.0), 0.06)
    fill(px, strake(0.35, 0.45), rgb("1f5b66"), rgb("4fa3a0"), (1, 0))
    fill(px, np.concatenate([sheer - (0, 3), (*sheer[::-1], 0, 4)]), wood * 0.6, mix(wood, WARM, 0.55), (1, 0), 0.2)
    for t in (0.56, 0.68, 0.80):  # planks
        fill(px, strake(t, t + 0.018), dark * 0.6, dark, (1, 0), alpha=0.7)
    px *= (1 - smooth(BOAT_KEEL - 3, BOAT_KEEL + 1, np.arange(BOAT_SIZE)))[:, None, None]
    return px


# ---- foreground ----------------------------------------------------------------------------------------


def bank_top(x: ArrayLike) -> Array:
    """Ground row of the near bank at layer column ``x``."""
    return np.interp(f32(x), (0, 300, 700, 1000, 1300, LW), (648, 668, 700, 692, 640, 600)).astype(np.float32)


def flower(sheet: Sheet, x: float, y: float, kind: int, rng: Rng) -> None:
    """A poppy (0), daisy (1) or lavender spike (2) with its head near (x, y)."""
    if kind == 2:
        for i in range(11):
            tint = mix(rgb("5b4a9c"), rgb("c9a5e0"), rng.random())
            dot(sheet, x + rng.normal(0, 2), y + i * 3.4, 2 + i * 0.16, ink(tint))
        return
    petals, r, tint = ((6, 5.5, rgb("d8372a")), (9, 3.2, rgb("f7efdf")))[kind]
    for a in np.linspace(0, 2 * np.pi, petals, endpoint=False) + rng.random():
        lit = mix(tint * 0.72, mix(tint, WARM, 0.3), 0.5 + 0.5 * np.cos(a + 0.8))
        dot(sheet, x + r * 1.1 * np.cos(a), y + r * 0.8 * np.sin(a), r * (0.85 if kind == 0 else 0.6), ink(lit))
    dot(sheet, x, y, r * 0.55, ink(rgb(("3a1c22", "e8ae33")[kind])))


def meadow() -> Array:
    """Near bank (CH, LW, 4): layered blades of grass and flowers, lit from behind."""
    rng = np.random.default_rng(31)
    yy = np.mgrid[0:CH, 0:LW][0].astype(np.float32)
    ground = bank_top(np.arange(LW))
    soil = mix(rgb("2c4a2c"), rgb("15291f"), smooth(0, 70, yy - ground)) * (1 + 0.3 * grain()[..., None])
    layer = premultiply(soil, smooth(-3, 5, yy - ground))
    sheet = np.zeros((CH, LW, 4), np.uint8)
    for v in np.sort(rng.random(5200)):
        x = rng.uniform(0, LW)
        y = float(bank_top(x)) + 6 + v * 120
        h, lean = rng.uniform(20, 52) * (0.7 + 0.6 * v), rng.normal(5, 11)
        tone = mix(rgb("24502e"), rgb("c8c24c"), np.clip(rng.beta(2, 2.6) * (1.25 - 0.55 * v), 0, 1))
        w = rng.uniform(1.4, 2.6)
        mid, tip = (x + lean * 0.3, y - h * 0.55), (x + lean, y - h)
        poly(sheet, [(x - w, y), (mid[0] - w * 0.8, mid[1]), tip, (mid[0] + w * 0.8, mid[1]), (x + w, y)], ink(tone))
        if rng.random() < 0.060:
            kind = int(np.clip(np.floor((np.sin(x / 130) + 1) * 1.2 + rng.uniform(0, 1)), 0, 2))
            cv2.line(sheet, sub((x, y)).tolist(), sub(tip).tolist(), ink(rgb("4f7a37")), 2, cv2.LINE_AA, 4)
            flower(sheet, tip[0], tip[1] - 2, kind, rng)
    over(layer, as_layer(sheet))
    return layer


def limb(
    px: Array, tips: list[tuple[float, float]], at: tuple[float, float], angle: float, length: float, width: float, rng: Rng
) -> None:
    """Draw a branch and its children on ``px``; collect where leaves grow (x, y) in ``tips``."""
    end = (at[0] + length * np.cos(angle), at[1] + length * np.sin(angle))
    line = curve(at, end, (0, -length * 0.08), 8)
    n = f32([-np.sin(angle), np.cos(angle)]) * np.linspace(width, width * 0.6, 8)[:, None]
    n *= 1 if n[0, 0] < 0 else -1  # first edge on the sunny, left-hand side
    axis = (1, 0) if abs(n[0, 0]) > abs(n[0, 1]) else (0, -1)
    fill(px, np.concatenate([line + n, (line - n)[::-1]]), rgb("a8744c"), rgb("33232b"), axis, 0.4)
    if width < 4.5 and rng.random() < 0.62:  # bare twigs leave the sky showing through
        tips.extend((float(p[0]), float(p[1])) for p in line[3::2])
    if width < 2.2:
        return
    for spread in (-0.5, 0.1, 0.55):
        turn = angle + spread + rng.normal(0, 0.15)
        limb(px, tips, end, turn, length * rng.uniform(0.62, 0.86), width * (0.62 if spread != 0.1 else 0.7), rng)


def tree() -> list[Array]:
    """Near tree as three layers (CH, LW, 4): far leaves, wood, near leaves; they sway apart a little."""
    rng = np.random.default_rng(45)
    wood = np.zeros((CH, LW, 4), np.float32)
    tips: list[tuple[float, float]] = []
    x = PAD + 1236.0
    fill(
        wood,
        np.concatenate([curve((x - 44, 720), (x - 16, 0), (12, 0)), curve((x + 22, 0), (x + 56, 720), (-14, 0))]),
        rgb("b07a4e"),
        rgb("2d2029"),
        (1, 0),
        0.45,
    )
    solid = wood[..., 3:].copy()
    for _ in range(420):  # bark: long furrows, darker away from the sun
        y, v = rng.uniform(0, 690), rng.uniform(-0.95, 0.95)
        half = 17 + 30 * (y / 720) ** 1.6
        tint = mix(rgb("d59a66"), rgb("1f161f"), np.clip(0.5 + 0.5 * v + rng.normal(0, 0.25), 0, 1))
        a = (x + 6 + half * v, y)
        furrow = curve(a, (a[0] + 3 * v, y + rng.uniform(18, 60)), (rng.uniform(1, 3), 0), 8)
        fill(wood, furrow, tint, tint, alpha=0.5)
    wood *= solid
    for y, angle, length, width in (
        (232, -2.6, 74, 7),
        (140, -2.85, 100, 10),
        (60, 3.0, 130, 10),
        (190, -0.5, 80, 9),
        (20, 3.05, 110, 9),
        (40, -0.4, 80, 8),
    ):
        limb(wood, tips, (x + 6, y), angle, length, width, rng)
    layers = []
    for pale, per_tip in ((-0.08, 9), (0.10, 7)):
        sheet = np.zeros((CH, LW, 4), np.uint8)
        for tx, ty in rng.permutation(np.array(tips)):
            clump = rng.normal(0, 0.16)
            for dx, dy, size in rng.normal((0, 5, 8.5), (13, 11, 1.6), (per_tip, 3)):
                turn = rng.normal(1.2, 0.7)
                long = size * np.array([np.cos(turn), np.sin(turn)])
                wide = 0.32 * size * np.array([-np.sin(turn), np.cos(turn)])
                sunny = np.clip(0.28 + pale + clump - dx / 60 + dy / 70 + rng.normal(0, 0.12), 0, 1)
                tint = mix(mix(rgb("15352c"), rgb("4c7a34"), min(1, sunny * 2)), rgb("dcc552"), max(0, sunny * 2 - 1))
                c = np.array([tx + dx, ty + dy])
                poly(sheet, [c - long, c - wide, c + long, c + wide], ink(tint))
        layers.append(as_layer(sheet))
    return [layers[0], wood, layers[1]]


# ---- moving parts --------------------------------------------------------------------------------------


class Water:
    """Perspective sea: a fixed set of travelling waves bends the mirrored scene and catches the sun."""

    def __init__(self) -> None:
        """Draw the waves' lengths, headings and phases."""
        rng = np.random.default_rng(5)
        n = 36
        self.row = np.arange(ROWS, dtype=np.float32)[:, None] + 4
        self.far = ROWS / self.row  # distance, 1 at the bottom edge
        length = np.geomspace(0.035, 6, n)
        heading = rng.normal(np.pi / 2, 0.62, n)
        self.k = np.stack([np.cos(heading), np.sin(heading)], 1) * (2 * np.pi / length)[:, None]
        self.speed = 0.9 * np.sqrt(2 * np.pi / length)
        self.phase = rng.uniform(0, 2 * np.pi, n)
        # Waves shorter than about two rows would alias into flicker: fade them with distance.
        self.fade = [0.115 * smooth(1.2, 4, lam * self.row**2 / ROWS) for lam in length]

    def slopes(self, t: float, pan: float) -> tuple[Array, Array]:
        """Surface slopes (ROWS, CW) sideways and towards the viewer at ``t`` seconds."""
        x = (np.arange(CW, dtype=np.float32) - CW / 2 + pan * depth_at(self.row)) / self.row
        sx, sz = np.zeros((2, ROWS, CW), np.float32)
        for (kx, kz), w, ph, fade in zip(self.k, self.speed, self.phase, self.fade, strict=True):
            wave = np.cos(np.float32(kx) * x + (kz * self.far - w * t + ph).astype(np.float32)) * fade
            total = np.hypot(kx, kz)
            sx += wave * np.float32(kx / total)
            sz += wave * np.float32(kz / total)
        return sx, sz

    def paint(self, mirror: Array, t: float, pan: float, sun_x: float) -> Array:
        """Water (ROWS, CW, 3) from the mirrored scene of the same shape."""
        sx, sz = self.slopes(t, pan)
        yy, xx = np.mgrid[0:ROWS, 0:CW].astype(np.float32)
        bent = cv2.remap(
            mirror,
            xx + sx * (3 + 0.05 * self.row),
            yy + sz * (5 + 0.09 * self.row),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        near = self.row / ROWS
        deep = mix(mix(rgb("6f9fa6"), rgb("12506a"), near[:, 0])[:, None], rgb("2f8f94"), np.clip(sz * 0.9 + 0.25, 0, 1))
        body = np.clip(0.12 + 0.44 * near + 0.40 * sz, 0.05, 0.95)
        colour = mix(bent * 0.97, deep, body)
        path = np.exp(-(((xx - sun_x) / (34 + 0.42 * self.row)) ** 2))
        spark = smooth(0.42 - 0.24 * path, 0.72 - 0.22 * path, -sz + 0.35 * sx)
        colour = mix(colour, rgb("ffe9b4"), np.clip(path * 0.36 * (1 - near) + spark * (0.10 + 0.85 * path), 0, 0.95))
        return mix(colour, HAZE, 0.45 * np.exp(-self.row / 14) * np.ones_like(xx))


def depth_at(row: ArrayLike) -> Array:
    """Pan speed of the water ``row`` rows below the horizon: panning plus trucking sideways."""
    return 0.5 + 0.5 * f32(row) / ROWS


def place(dst: Array, layer: Array, pan: float, depth: float, mirror: float | None = None, top: int = 0) -> None:
    """Composite ``layer`` at its pan offset, flipped about row ``mirror``; ``top`` is the row of dst[0]."""
    flip = (1, -top) if mirror is None else (-1, 2 * mirror - top)
    matrix = f32([[1, 0, -PAD - pan * depth], [0, *flip]])
    over(dst, cv2.warpAffine(layer, matrix, dst.shape[1::-1]))


def sway(layer: Array, weight: Array, t: float, pace: float) -> Array:
    """``layer`` bent by a travelling breeze; ``weight`` (h, w) is the reach in pixels."""
    yy, xx = np.mgrid[0 : layer.shape[0], 0 : layer.shape[1]].astype(np.float32)
    gust = np.sin(xx / 85 - pace * t) + 0.6 * np.sin(xx / 37 + yy / 50 - 1.7 * pace * t)
    return cv2.remap(layer, xx + weight * gust, yy + 0.35 * weight * np.cos(yy / 60 + pace * t), cv2.INTER_LINEAR)


def gull(dst: Array, x: float, y: float, s: float, phase: float) -> None:
    """Flapping gull of half-span ``s`` drawn onto ``dst`` (h, w, 3)."""
    side, lift = int(3 * s), np.sin(phase)
    sheet = np.zeros((2 * side, 2 * side, 4), np.uint8)
    ox, oy = int(x) - side, int(y) - side
    cx, cy = x - ox, y - oy
    for sign, tone in ((-1, "8f8ea6"), (1, "fff4e0")):
        elbow = (cx + sign * 0.5 * s, cy - s * (0.22 + 0.25 * lift))
        tip = (cx + sign * s, cy - s * (0.05 + 0.5 * np.sin(phase - 0.6)))
        knuckle, arm = (elbow[0], elbow[1] + 0.15 * s), (cx + 0.12 * s, cy + 0.1 * s)
        poly(sheet, [(cx - 0.12 * s, cy), elbow, tip, knuckle, arm], ink(rgb(tone)))
        poly(sheet, f32([mix(elbow, tip, 0.6), tip, (elbow[0] + sign * 0.3 * s, elbow[1] + 0.12 * s)]), ink(rgb("4a4a5c")))
    cv2.ellipse(
        sheet,
        sub((cx, cy + 0.04 * s)).tolist(),
        sub((0.32 * s, 0.1 * s)).tolist(),
        -8,
        0,
        360,
        ink(rgb("f6ead6")),
        -1,
        cv2.LINE_AA,
        4,
    )
    if ox >= 0 and oy >= 0 and ox + 2 * side <= dst.shape[1]:
        over(dst[oy : oy + 2 * side, ox : ox + 2 * side], as_layer(sheet))


def boat_pose(t: float, pan: float) -> tuple[Array, Array, float]:
    """Sprite placements (2, 3) at ``t`` seconds, upright and mirrored in the water, and the boat's column."""
    x = 470 + 46 * t - pan * float(depth_at(BOAT_LINE - HORIZON))
    y, heel = BOAT_LINE + 2.5 * np.sin(1.9 * t), 0.5 + 0.8 * np.sin(1.25 * t + 0.6)
    up = cv2.getRotationMatrix2D((BOAT_SIZE / 2, BOAT_KEEL), -heel, 1)
    up[:, 2] += f32((x - BOAT_SIZE / 2, y - BOAT_KEEL))
    down = up.copy()
    down[1] = -up[1] + (0, 0, 2 * BOAT_LINE - HORIZON)
    return f32(up), f32(down), x


def foam(dst: Array, texture: Array, boat_x: float, pan: float) -> None:
    """Bow wave and wake on ``dst`` (CH, CW, 3); ``texture`` (CH, LW) stays put on the water."""
    rows = np.s_[BOAT_LINE - 14 : BOAT_LINE + 40]
    yy, xx = np.mgrid[rows, 0:CW].astype(np.float32)
    matrix = f32([[1, 0, -PAD - pan * float(depth_at(BOAT_LINE - HORIZON))], [0, 1, -rows.start]])
    tex = cv2.warpAffine(texture, matrix, (CW, yy.shape[0]))
    back, dy = boat_x + 140 - xx, yy - BOAT_LINE
    along = smooth(-14, 26, back) * np.exp(-np.maximum(back, 0) / 260)
    hull = np.exp(-((dy / 4.5) ** 2)) * along * smooth(330, 240, back)
    wake = np.exp(-(((dy - 0.055 * np.maximum(back, 0)) / (3 + 0.012 * np.maximum(back, 0))) ** 2)) * along
    amount = np.clip((hull * 1.1 + wake * 0.9) * smooth(0.22, 0.52, tex), 0, 0.9)
    dst[rows] = mix(dst[rows], rgb("fff6e6"), amount)


def frames() -> Iterator[Sheet]:
    """Yield the clip's frames (HEIGHT, WIDTH, 3), RGB."""
    far = hills(3, (150, 235, 190, 120, 150, 70, 45, 60, 130, 175, 120), (rgb("5b5f8c"), rgb("dcae9a")), 0.42, 0)
    mid = hills(8, (120, 90, 150, 110, 80, 40, 18, 10, 26, 84, 120), (rgb("31526a"), rgb("b9a878")), 0.25, 3800)
    isle = hills(12, (0, 0, 0, 0, 0, 0, -14, -12, 18, 66, 92), (rgb("1f4442"), rgb("c2ae56")), 0.06, 2600)
    isle[ISLE_LINE:] = 0
    backdrop = (
        (sky(), SUN_DEPTH, 0.0),
        (clouds(11, (46, 300), (70, 120), 0.50), 0.41, 5.0),
        (clouds(4, (80, 190), (200, 105), 0.43), 0.42, 9.0),
        (far, 0.44, 0.0),
        (mid, 0.5, 0.0),
    )
    shores = ((isle, 0.52, ISLE_LINE), (headland(), float(depth_at(26)), LAND_LINE))
    ship, sea, grass, (leaves_back, wood, leaves_front) = boat(), Water(), meadow(), tree()
    froth = fbm(np.random.default_rng(6), CH, LW, (7, 22), 4, 0.6)
    rise = np.clip(bank_top(np.arange(LW)) + 60 - np.arange(CH)[:, None], 0, 150).astype(np.float32)
    yy, xx = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    vignette = (1.03 - 0.16 * (xx**2 + yy**2) ** 1.2)[..., None]
    for i in range(FRAMES):
        t = i / FPS
        pan = PAN * (2 * i / (FRAMES - 1) - 1)
        image = np.zeros((CH, CW, 3), np.float32)
        for layer, depth, drift in backdrop:
            place(image[:HORIZON], layer[:HORIZON], pan - drift * (t - 3) / depth, depth)
        mirror = np.ascontiguousarray(image[HORIZON - ROWS : HORIZON][::-1])
        for layer, depth, line in shores:
            place(mirror, layer, pan, depth, line, HORIZON)
        to_display_orientation, mirrored, boat_x = boat_pose(t, pan)
        over(mirror, cv2.warpAffine(ship, mirrored, (CW, ROWS)))
        image[HORIZON:] = sea.paint(mirror, t, pan, SUN[0] - pan * SUN_DEPTH)
        for layer, depth, _ in shores:
            place(image, layer, pan, depth)
        over(image, cv2.warpAffine(ship, to_display_orientation, (CW, CH)))
        foam(image, froth, boat_x, pan)
        for x, y, s, v, ph in GULLS:
            gull(image, x + v * t - pan * 0.5, y + 7 * np.sin(t + ph), s, 6.2 * t + ph)
        place(image, sway(leaves_back, np.full((CH, LW), 2.2, np.float32), t + 0.7, 1.7), pan, 1.22)
        place(image, wood, pan, 1.22)
        place(image, sway(grass, (rise / 60) ** 1.5 * 2.0, t, 2.1), pan, 1.1)
        place(image, sway(leaves_front, np.full((CH, LW), 3.0, np.float32), t, 1.9), pan, 1.24)
        small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        bloom = cv2.GaussianBlur(np.clip(small - 0.72, 0, 1), (0, 0), 9)
        yield np.round(np.clip((small + 0.55 * bloom) * vignette, 0, 1) * 255).astype(np.uint8)


# ---- samples and encoding --------------------------------------------------------------------------------


def tone(hertz: float, seconds: float, partials: Callable[[int], float], decay: float) -> Array:
    """Decaying note (n,) of harmonics weighted by ``partials``; higher ones die sooner, as on a string."""
    t = np.arange(int(seconds * RATE)) / RATE
    wave = np.minimum(1, t / 0.006)  # soft attack
    ring = [partials(k) * np.sin(2 * np.pi * hertz * k * t) * np.exp(-t * decay * (0.6 + 0.4 * k)) for k in range(1, 7)]
    return f32(wave * np.sum(ring, 0))


def tune() -> Array:
    """Stereo samples (2, n) in -1..1: plucked melody, soft chords and sea noise, faded at both ends."""
    rng = np.random.default_rng(17)
    n = FRAMES * RATE // FPS
    t = np.arange(n) / RATE
    out = np.zeros((2, n + 4 * RATE))
    melody = ((0.2, 74), (0.7, 78), (1.2, 81), (1.7, 86), (2.2, 83), (2.7, 81), (3.2, 78), (3.7, 76), (4.2, 78), (4.7, 74))
    for i, (start, note) in enumerate(melody):
        pluck = tone(440 * 2 ** ((note - 69) / 12), 3.5, lambda k: 0.16 / k**1.8, 1.7)
        at, side = int(start * RATE), 0.5 + 0.3 * np.sin(i * 1.9)
        out[:, at : at + len(pluck)] += np.outer((1 - side, side), pluck)
    for start, chord in ((0.0, (50, 57, 66)), (2.0, (55, 59, 62)), (4.0, (50, 57, 62))):
        swell = np.clip(1 - np.abs(t - start - 1.2) / 1.9, 0, 1) ** 1.5
        for note in chord:
            for ear, detune in ((0, 0.998), (1, 1.002)):
                out[ear, :n] += 0.045 * swell * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * detune * t)
    room = rng.normal(size=(2, 2 * RATE)) * np.exp(-np.arange(2 * RATE) / RATE * 4) * 0.006
    size = out.shape[1] + room.shape[1]
    echo = np.fft.irfft(np.fft.rfft(out, size) * np.fft.rfft(room, size), size)
    out = (out + 0.6 * echo[:, : out.shape[1]])[:, :n]
    hiss = np.fft.rfft(rng.normal(size=(2, n)))
    hertz = np.fft.rfftfreq(n, 1 / RATE)
    sea = np.fft.irfft(hiss / (1 + (hertz / 420) ** 1.4) * (hertz > 60), n)
    out += sea / np.abs(sea).max() * 0.13 * (0.6 + 0.4 * np.sin(2 * np.pi * t / 3.1 - 1))
    fade = np.clip(t / 0.6, 0, 1) * np.clip((t[-1] - t) / 1.2, 0, 1)
    out *= fade
    return (out / np.abs(out).max() * 0.7).astype(np.float32)


def encode(path: Path) -> None:
    """Render and write the clip to ``path``."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as box:
        video = box.add_stream("libx264", rate=FPS, options={"crf": str(CRF), "preset": "veryslow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        audio = box.add_stream("aac", rate=RATE, layout="stereo", bit_rate=96_000)
        for image in frames():
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            box.mux(video.encode(frame))
        box.mux(video.encode())
        samples = av.AudioFrame.from_ndarray(tune(), format="fltp", layout="stereo")
        samples.sample_rate, samples.pts = RATE, 0
        box.mux(audio.encode(samples))
        box.mux(audio.encode())


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("samples/boat.mp4"), help="file to write")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    encode(out)


if __name__ == "__main__":
    main()
