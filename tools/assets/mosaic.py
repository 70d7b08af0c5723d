"""Draw a procedural mosaic: vivid tesserae with dark joints, laid in rows along curved forms.

The image is synthesised from geometry and a seed only; it contains no material by others.

Method, after A. Hausner, "Simulating decorative mosaics", SIGGRAPH 2001: a centroidal Voronoi diagram
whose metric is a square norm turned to a direction field, so that its cells become near-square tiles in
rows along the field. The diagram is rastered as a z-buffer of cones: each site is drawn into a local window and
the nearest distance wins; a second z-buffer keeps the runner-up. Sites then move to their cells' centroids
(Lloyd's iteration). The joints lie where the runner-up is almost as near as the winner.

The direction field of each form is the tangent of its own stream function (ring radius, spiral phase,
distance to an outline or a curve). The stream functions are measured in pixels and colour bands are whole
numbers of rows, so the rows run along the colour boundaries (opus vermiculatum).

    python -m tools.assets.mosaic OUT.png [--size 768] [--tile 18] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

# Palette, sRGB 0..255.
PALETTE: dict[str, tuple[int, int, int]] = {
    "midnight": (18, 24, 62),
    "ultramarine": (30, 50, 158),
    "cobalt": (38, 96, 200),
    "sky": (128, 192, 222),
    "teal": (8, 108, 122),
    "turquoise": (34, 172, 182),
    "aqua": (142, 214, 204),
    "emerald": (18, 122, 82),
    "leaf": (112, 166, 72),
    "ivory": (242, 232, 208),
    "sand": (226, 202, 158),
    "gold": (236, 180, 48),
    "amber": (218, 134, 28),
    "terracotta": (200, 88, 50),
    "vermilion": (218, 62, 38),
    "crimson": (160, 22, 50),
    "wine": (88, 16, 42),
    "violet": (78, 40, 128),
    "rose": (224, 132, 128),
    "ink": (20, 18, 30),
}
JOINT_RGB = (26, 19, 16)

REFERENCE_PITCH = 18.0 / 768.0  # row height, in image widths, for which the band row counts are written
SUPERSAMPLE = 2  # the render is this many times larger than the image, then area-averaged
LLOYD_ITERATIONS = 18
REPAIR_ITERATIONS = (2, 5, 8, 11)  # Lloyd steps after which slivers are dropped and holes filled
NORM_POWER = 6  # p of the oriented p-norm: near Chebyshev (square) but without its ties
WINDOW_PITCHES = 1.9  # half side of a site's window
LENGTH_RANGE = (0.80, 1.28)  # tile length along its row, in pitches
ANGLE_JITTER = 0.035  # radians
SLIVER_AREA = 0.38  # cells smaller than this, in pitch^2, are dropped
HOLE_DISTANCE = 0.88  # pixels farther than this from every site, in pitches, call for a new site
MAX_NEW_SITES = 400  # per repair
JOINT_WIDTH = 0.125  # in pitches
JOINT_JITTER = (0.75, 1.35)
BEVEL_WIDTH = 0.22  # in pitches of (second - nearest) distance, i.e. twice the width seen
BEVEL_STRENGTH = 0.26
GLASS_STRENGTH = 0.055
LIGHTNESS_JITTER = 6.5  # standard deviation, CIE L*
CHROMA_JITTER = 5.0  # standard deviation, CIE a* and b*
FULL_JITTER_LIGHTNESS = 45.0  # L* from which the jitter is whole; darker tiles vary less, as dark glass does
CHROMA_GAIN = 1.18  # makes up for the colour that dark joints and balancing take away
TARGET_MEAN = (113.0, 107.0, 103.0)  # of red, green and blue, 0..255: neutral, a little warm

Band = tuple[float, str, str]  # rows at the reference pitch, first colour, last colour


@dataclass
class Canvas:
    """A padded pixel grid.

    side: image side, px; pitch: row height, px; pad: border, px; x, y: (H, W) float32, px from the
    image's corner.
    """

    side: int
    pitch: float
    pad: int = field(init=False)
    x: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.pad = math.ceil(2.5 * self.pitch)
        axis = np.arange(self.side + 2 * self.pad, dtype=np.float32) + 0.5 - self.pad
        self.x, self.y = np.meshgrid(axis, axis)

    def rows(self, reference_rows: float) -> int:
        """Whole rows of this pitch that span as much as that many rows of the reference pitch."""
        return max(1, round(reference_rows * REFERENCE_PITCH * self.side / self.pitch))

    def depth(self, bands: Sequence[Band]) -> int:
        """Whole rows of this pitch in a stack of bands."""
        return sum(self.rows(band[0]) for band in bands)

    def polar(self, cx: float, cy: float) -> tuple[np.ndarray, np.ndarray]:
        """Radius (px) and angle (radians) about a point given in image widths; both (H, W)."""
        dx, dy = self.x - cx * self.side, self.y - cy * self.side
        return np.hypot(dx, dy), np.arctan2(dy, dx)


@dataclass
class Form:
    """One form, filled with bands of tiles.

    mask: (H, W) bool, where it is drawn; stream: (H, W) float32, px, whose level lines the rows follow;
    angle: (H, W) float32, radians, picks the colour sector; sectors: one list of bands per sector, the
    bands repeating outwards; turn: angle where sector 0 begins; sweep: fraction of a band's gradient that
    runs around the form rather than across it.
    """

    mask: np.ndarray
    stream: np.ndarray
    angle: np.ndarray
    sectors: Sequence[Sequence[Band]]
    turn: float = 0.0
    sweep: float = 0.5


@dataclass
class Scene:
    """The flattened composition.

    forms: back to front; region: (H, W) int16, index of the visible form; stream, normal_x, normal_y:
    (H, W) float32, the visible form's stream function (px) and its unit gradient.
    """

    canvas: Canvas
    forms: list[Form]
    region: np.ndarray
    stream: np.ndarray
    normal_x: np.ndarray
    normal_y: np.ndarray


@dataclass
class Sites:
    """Tile sites.

    x, y: (N,) px from the padded corner; region: (N,) int; length: (N,) along the row, in pitches;
    tilt: (N,) radians off the field.
    """

    x: np.ndarray
    y: np.ndarray
    region: np.ndarray
    length: np.ndarray
    tilt: np.ndarray


# ---------------------------------------------------------------------------------------- composition


def disc(canvas: Canvas, cx: float, cy: float, sectors: Sequence[Sequence[Band]], turn: float = 0.0) -> Form:
    """Concentric rings about one central tile, as many as the first sector's bands hold."""
    radius, angle = canvas.polar(cx, cy)
    # Half a pitch is added so that row 0 is a single round tile in the middle.
    stream = radius + 0.5 * canvas.pitch
    return Form(stream < canvas.depth(sectors[0]) * canvas.pitch, stream, angle, sectors, turn)


def arcs(canvas: Canvas, cx: float, cy: float, mask: np.ndarray, bands: Sequence[Band]) -> Form:
    """Broad arcs about a distant centre, filling `mask`."""
    radius, angle = canvas.polar(cx, cy)
    return Form(mask, radius, angle, [bands], sweep=0.75)


def spiral(canvas: Canvas, cx: float, cy: float, bands: Sequence[Band], turns: float) -> Form:
    """Archimedean spiral inside a disc; one turn climbs the sum of the bands, so rows meet at the cut."""
    radius, angle = canvas.polar(cx, cy)
    climb = canvas.depth(bands) * canvas.pitch
    stream = radius + angle / (2 * math.pi) * climb + climb
    return Form(radius < turns * climb, stream, angle, [bands], sweep=0.3)


def petal(
    canvas: Canvas, centre: tuple[float, float], heading: float, span: tuple[float, float], width: float, bands: Sequence[Band]
) -> Form:
    """A pointed leaf (two circles' intersection); its rows follow its outline inwards.

    It lies on the ray `heading` (radians) from `centre`, between the distances `span`, `width` across;
    lengths in image widths.
    """
    half, middle = 0.5 * (span[1] - span[0]), 0.5 * (span[0] + span[1])
    radius = (half * half + 0.25 * width * width) / width
    offset = radius - 0.5 * width
    mx, my = centre[0] + middle * math.cos(heading), centre[1] + middle * math.sin(heading)
    sx, sy = -math.sin(heading) * offset, math.cos(heading) * offset
    first, _ = canvas.polar(mx + sx, my + sy)
    second, _ = canvas.polar(mx - sx, my - sy)
    stream = radius * canvas.side - np.maximum(first, second)
    _, angle = canvas.polar(*centre)
    return Form(stream > 0, stream, angle, [bands], sweep=0.0)


def curve_height(x: np.ndarray) -> np.ndarray:
    """The river's middle line: height for abscissa, both in image widths."""
    return 0.60 - 0.30 * (x - 0.5) + 0.115 * np.sin(2 * math.pi * (1.02 * x + 0.12))


def curve_distance(canvas: Canvas) -> np.ndarray:
    """Signed distance (px), (H, W), to the river's middle line; positive below it."""
    margin = canvas.side // 4
    size = canvas.x.shape[0] + 2 * margin
    x = np.arange(size, dtype=np.float64) - margin - canvas.pad + 0.5
    y = curve_height(x / canvas.side) * canvas.side + canvas.pad + margin
    image = np.full((size, size), 255, np.uint8)
    points = np.stack([np.arange(size), y], axis=1).round().astype(np.int32)
    cv2.polylines(image, [points], False, 0, 1)
    distance = cv2.distanceTransform(image, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = distance[margin:-margin, margin:-margin]
    below = canvas.y > curve_height(canvas.x / canvas.side) * canvas.side
    # The drawn line is a pixel wide: smoothing rounds the kink its width leaves at zero.
    return cv2.GaussianBlur(np.where(below, distance, -distance).astype(np.float32), (0, 0), 1.5)


def river(canvas: Canvas, distance: np.ndarray, bands: Sequence[Band]) -> Form:
    """A waving ribbon around the middle line, as wide as its bands."""
    width = canvas.depth(bands) * canvas.pitch
    stream = distance + 0.5 * width
    mask = (stream > 0) & (stream < width)
    return Form(mask, stream, (canvas.x / canvas.side * 2 - 1) * math.pi, [bands], sweep=0.8)


def flower(canvas: Canvas, cx: float, cy: float, count: int, far: float, width: float) -> list[Form]:
    """A rosette: a dark disc with a bright rim, `count` petals reaching to `far`, and a golden heart."""
    ground = [(3, "ink", "ink"), (4.5, "midnight", "ink"), (1, "turquoise", "turquoise"), (1, "midnight", "midnight")]
    forms = [disc(canvas, cx, cy, [ground])]
    warm = [(1, "gold", "gold"), (3, "vermilion", "crimson")]
    pale = [(1, "ivory", "ivory"), (3, "terracotta", "amber")]
    for k in range(count):
        heading = (k + 0.3) * 2 * math.pi / count
        forms.append(petal(canvas, (cx, cy), heading, (0.035, far), width, warm if k % 2 else pale))
    heart = [(1, "ivory", "ivory"), (1, "gold", "gold"), (1, "amber", "amber")]
    return [*forms, disc(canvas, cx, cy, [heart])]


def scallops(canvas: Canvas) -> list[Form]:
    """Overlapping fish-scale fans in the lower right corner, back to front."""
    fillings = [
        [(2, "ivory", "ivory"), (1, "turquoise", "turquoise"), (1, "aqua", "sky"), (1, "teal", "teal")],
        [(2, "gold", "gold"), (1, "vermilion", "vermilion"), (1, "sand", "gold"), (1, "wine", "wine")],
        [(2, "sky", "sky"), (1, "ultramarine", "cobalt"), (1, "ivory", "sky"), (1, "midnight", "midnight")],
        [(2, "leaf", "leaf"), (1, "ivory", "ivory"), (1, "emerald", "leaf"), (1, "ink", "ink")],
    ]
    step, left, top = 7.4 * REFERENCE_PITCH, 0.60, 0.885
    forms = []
    for line in range(3):
        for i in range(-1, 4):
            x = left + (i - 0.5 * (line % 2)) * step
            if x >= left - 0.6 * step * line:
                filling = fillings[(2 * line + i) % len(fillings)]
                forms.append(disc(canvas, x, top + 0.09 * line, [filling]))
    return forms


def big_wheel(canvas: Canvas) -> Form:
    """The large disc of the upper left, its rings changing colour from quarter to quarter."""
    return disc(
        canvas,
        0.31,
        0.30,
        [
            [
                (2, "gold", "gold"),
                (2, "crimson", "vermilion"),
                (3, "ivory", "sand"),
                (2, "ultramarine", "cobalt"),
                (2, "amber", "gold"),
                (1, "ink", "ink"),
            ],
            [
                (2, "gold", "gold"),
                (2, "turquoise", "aqua"),
                (3, "midnight", "ultramarine"),
                (2, "vermilion", "terracotta"),
                (2, "ivory", "aqua"),
                (1, "ink", "ink"),
            ],
            [
                (2, "gold", "gold"),
                (2, "violet", "ultramarine"),
                (3, "amber", "gold"),
                (2, "emerald", "leaf"),
                (2, "vermilion", "rose"),
                (1, "ink", "ink"),
            ],
            [
                (2, "gold", "gold"),
                (2, "ivory", "sand"),
                (3, "wine", "crimson"),
                (2, "aqua", "turquoise"),
                (2, "midnight", "violet"),
                (1, "ink", "ink"),
            ],
        ],
        turn=0.55,
    )


def small_wheel(canvas: Canvas) -> Form:
    """The small disc near the middle, in two halves of opposite colours."""
    return disc(
        canvas,
        0.615,
        0.46,
        [
            [(1, "ivory", "ivory"), (2, "cobalt", "ultramarine"), (1, "gold", "gold"), (1, "ivory", "sand"), (1, "ink", "ink")],
            [
                (1, "ivory", "ivory"),
                (2, "vermilion", "crimson"),
                (1, "sky", "aqua"),
                (1, "midnight", "violet"),
                (1, "ink", "ink"),
            ],
        ],
        turn=-0.5,
    )


def compose(canvas: Canvas) -> list[Form]:
    """The image's forms, back to front."""
    distance = curve_distance(canvas)
    upper = arcs(
        canvas,
        1.12,
        -0.22,
        np.ones(canvas.x.shape, bool),
        [
            (3, "ultramarine", "cobalt"),
            (1, "ivory", "sand"),
            (4, "turquoise", "teal"),
            (2, "midnight", "violet"),
            (3, "gold", "amber"),
            (1, "wine", "crimson"),
            (4, "sky", "ivory"),
            (2, "cobalt", "ultramarine"),
        ],
    )
    lower = arcs(
        canvas,
        -0.18,
        1.22,
        distance > 0,
        [
            (3, "terracotta", "amber"),
            (1, "ivory", "ivory"),
            (3, "crimson", "wine"),
            (4, "emerald", "leaf"),
            (1, "gold", "gold"),
            (3, "midnight", "ultramarine"),
            (3, "vermilion", "terracotta"),
        ],
    )
    ribbon = river(
        canvas,
        distance,
        [
            (1, "ink", "midnight"),
            (2, "ivory", "aqua"),
            (2, "turquoise", "cobalt"),
            (1, "gold", "amber"),
            (2, "crimson", "violet"),
            (1, "ink", "wine"),
        ],
    )
    swirl = spiral(
        canvas, 0.20, 0.83, [(2, "ivory", "sand"), (2, "ultramarine", "midnight"), (1, "vermilion", "terracotta")], turns=1.6
    )
    rosette = flower(canvas, 0.80, 0.235, 9, 0.165, 0.085)
    return [upper, lower, *scallops(canvas), ribbon, big_wheel(canvas), swirl, small_wheel(canvas), *rosette]


def build_scene(canvas: Canvas) -> Scene:
    """Flatten the forms into per-pixel maps."""
    forms = compose(canvas)
    region = np.zeros(canvas.x.shape, np.int16)
    stream, nx, ny = (np.zeros(canvas.x.shape, np.float32) for _ in range(3))
    for index, form in enumerate(forms):
        values = form.stream.astype(np.float32)
        gx = cv2.Sobel(values, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REPLICATE)
        gy = cv2.Sobel(values, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REPLICATE)
        norm = np.maximum(np.hypot(gx, gy), 1e-6)
        mask = form.mask
        region[mask] = index
        stream[mask] = values[mask]
        nx[mask], ny[mask] = (gx / norm)[mask], (gy / norm)[mask]
    return Scene(canvas, forms, region, stream, nx, ny)


# --------------------------------------------------------------------------------------------- layout


def walk_contour(points: np.ndarray, pitch: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Sites along one closed pixel chain (M, 2): (x, y, length in pitches), tiles of random length."""
    chain = points.astype(np.float64)
    # A pixel chain zigzags and so overstates its length; a moving average removes that.
    smooth = np.mean([np.roll(chain, shift, axis=0) for shift in range(-4, 5)], axis=0)
    steps = np.hypot(*np.diff(smooth, axis=0, append=smooth[:1]).T)
    total = float(steps.sum())
    count = round(total / pitch)
    if count < 1:  # a speck; the hole filling sees to it
        return []
    lengths = rng.uniform(*LENGTH_RANGE, count)
    lengths *= total / (pitch * lengths.sum())
    centres = (np.cumsum(lengths) - 0.5 * lengths) * pitch
    centres = (centres + rng.uniform(0, total)) % total
    at = np.clip(np.searchsorted(np.cumsum(steps), centres), 0, len(smooth) - 1)
    return [(float(smooth[i, 0]), float(smooth[i, 1]), float(n)) for i, n in zip(at, lengths, strict=True)]


def lay_rows(scene: Scene, rng: np.random.Generator) -> Sites:
    """First layout: rows of sites along the level lines of every form's stream function."""
    pitch = scene.canvas.pitch
    found: list[tuple[float, float, float, float]] = []
    height, width = scene.region.shape
    for index, form in enumerate(scene.forms):
        visible = scene.region == index
        if not visible.any():
            continue
        low, high = float(scene.stream[visible].min()), float(scene.stream[visible].max())
        for row in range(math.floor(low / pitch), math.ceil(high / pitch)):
            level = (row + 0.5) * pitch
            below = (form.stream < level).astype(np.uint8)
            contours, _ = cv2.findContours(below, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            for contour in contours:
                for x, y, length in walk_contour(contour[:, 0, :], pitch, rng):
                    ix, iy = min(max(round(x), 0), width - 1), min(max(round(y), 0), height - 1)
                    # Border and branch-cut stretches of the chain are not on the level line.
                    if visible[iy, ix] and abs(form.stream[iy, ix] - level) < 0.2 * pitch:
                        found.append((x, y, index, length))
    table = np.array(found, np.float64)
    tilt = rng.normal(0, ANGLE_JITTER, len(table))
    lengths = np.clip(table[:, 3], *LENGTH_RANGE)
    return Sites(table[:, 0], table[:, 1], table[:, 2].astype(int), lengths, tilt)


def z_buffers(scene: Scene, sites: Sites) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner (H, W) int32 (-1 where none), nearest and second nearest distance (H, W), px.

    Only pixels of a site's own region are drawn, so tiles are cut at region outlines.
    """
    pitch = scene.canvas.pitch
    height, width = scene.region.shape
    owner = np.full((height, width), -1, np.int32)
    first = np.full((height, width), np.inf, np.float32)
    second = np.full((height, width), np.inf, np.float32)
    reach = math.ceil(WINDOW_PITCHES * pitch)
    half = NORM_POWER // 2
    for i in range(len(sites.x)):
        cx, cy = sites.x[i], sites.y[i]
        ix, iy = int(np.clip(cx, 0, width - 1)), int(np.clip(cy, 0, height - 1))
        x0, x1 = max(0, ix - reach), min(width, ix + reach + 1)
        y0, y1 = max(0, iy - reach), min(height, iy + reach + 1)
        window = (slice(y0, y1), slice(x0, x1))
        normal = math.atan2(scene.normal_y[iy, ix], scene.normal_x[iy, ix]) + sites.tilt[i]
        c, s = np.float32(math.cos(normal) / pitch), np.float32(math.sin(normal) / pitch)
        dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(cx)
        dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)
        across = c * dx + s * dy
        along = (c * dy - s * dx) / np.float32(sites.length[i])
        # Powers are compared and the root is taken once at the end; the order is the same.
        distance = (across * across) ** half + (along * along) ** half
        distance[scene.region[window] != sites.region[i]] = np.inf
        best = first[window]
        closer = distance < best
        second[window] = np.where(closer, best, np.minimum(second[window], distance))
        owner[window][closer] = i
        np.minimum(best, distance, out=best)
    root = 1.0 / NORM_POWER
    return owner, first**root * pitch, second**root * pitch


def centroids(owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area (px^2) and centroid x, y (px) of each of `count` cells; each (count,)."""
    ys, xs = np.nonzero(owner >= 0)
    ids = owner[ys, xs]
    area = np.bincount(ids, minlength=count).astype(np.float64)
    safe = np.maximum(area, 1)
    return area, np.bincount(ids, xs, count) / safe, np.bincount(ids, ys, count) / safe


def keep(sites: Sites, chosen: np.ndarray) -> Sites:
    """The sites at `chosen`, (N,) bool."""
    return Sites(sites.x[chosen], sites.y[chosen], sites.region[chosen], sites.length[chosen], sites.tilt[chosen])


def fill_holes(scene: Scene, sites: Sites, nearest: np.ndarray) -> Sites:
    """Add a site at the deepest pixel of every spot that is too far from all sites of its region."""
    pitch = scene.canvas.pitch
    depth = np.where(np.isfinite(nearest), nearest, 4 * pitch).astype(np.float32)
    added: list[tuple[int, int]] = []
    while len(added) < MAX_NEW_SITES:
        _, value, _, (x, y) = cv2.minMaxLoc(depth)
        if value < HOLE_DISTANCE * pitch:
            break
        added.append((x, y))
        cv2.circle(depth, (x, y), round(0.9 * pitch), 0.0, -1)
    if not added:
        return sites
    xs, ys = np.array(added).T
    return Sites(
        np.append(sites.x, xs),
        np.append(sites.y, ys),
        np.append(sites.region, scene.region[ys, xs]),
        np.append(sites.length, np.ones(len(xs))),
        np.append(sites.tilt, np.zeros(len(xs))),
    )


def relax(scene: Scene, sites: Sites) -> Sites:
    """Lloyd's iteration with occasional repair of slivers and holes."""
    pitch = scene.canvas.pitch
    for step in range(LLOYD_ITERATIONS):
        owner, nearest, _ = z_buffers(scene, sites)
        area, cx, cy = centroids(owner, len(sites.x))
        alive = area > 0
        sites.x, sites.y = np.where(alive, cx, sites.x), np.where(alive, cy, sites.y)
        if step in REPAIR_ITERATIONS:
            sites = fill_holes(scene, keep(sites, area > SLIVER_AREA * pitch * pitch), nearest)
    return sites


# --------------------------------------------------------------------------------------------- colour


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB 0..255 (N, 3) to CIE Lab (N, 3)."""
    return cv2.cvtColor((rgb[None] / 255.0).astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """Convert CIE Lab (N, 3) to sRGB 0..255 (N, 3)."""
    return np.clip(cv2.cvtColor(lab[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0], 0, 1) * 255.0


LAB: dict[str, np.ndarray] = {name: to_lab(np.array([rgb], np.float64))[0] for name, rgb in PALETTE.items()}


def band_colour(canvas: Canvas, form: Form, stream: float, angle: float) -> np.ndarray:
    """Lab colour (3,) of the form at a stream value (px) and angle (radians)."""
    around = ((angle - form.turn) / (2 * math.pi)) % 1.0
    bands = form.sectors[int(around * len(form.sectors)) % len(form.sectors)]
    row = math.floor(stream / canvas.pitch) % canvas.depth(bands)
    for rows, start, end in bands:
        count = canvas.rows(rows)
        if row < count:
            across = (row + 0.5) / count
            sway = 0.5 - 0.5 * math.cos(4 * math.pi * around)
            mix = (1 - form.sweep) * across + form.sweep * sway
            return (1 - mix) * LAB[start] + mix * LAB[end]
        row -= count
    raise AssertionError("row lies outside its bands")


def tile_colours(scene: Scene, sites: Sites, rng: np.random.Generator) -> np.ndarray:
    """One sRGB colour (N, 3), 0..255, per tile: its band's colour with the jitter of real tesserae."""
    height, width = scene.region.shape
    lab = np.zeros((len(sites.x), 3))
    for i, index in enumerate(sites.region):
        ix, iy = int(np.clip(sites.x[i], 0, width - 1)), int(np.clip(sites.y[i], 0, height - 1))
        form = scene.forms[index]
        lab[i] = band_colour(scene.canvas, form, float(form.stream[iy, ix]), float(form.angle[iy, ix]))
    spread = np.array([LIGHTNESS_JITTER, CHROMA_JITTER, CHROMA_JITTER])
    weight = np.clip(lab[:, :1] / FULL_JITTER_LIGHTNESS, 0.3, 1.0)
    jittered = lab + np.clip(rng.normal(0, 1, lab.shape), -2, 2) * spread * weight
    return to_rgb(jittered * np.array([1.0, CHROMA_GAIN, CHROMA_GAIN]))


def balance(colours: np.ndarray, weights: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Bend each channel of (N, 3) by a power so that its mean, weighted by (N,), meets `target` (3,).

    A power leaves black and white where they are, so the range of the palette is kept.
    """
    normalised = weights / weights.sum()
    result = np.empty_like(colours)
    for channel in range(3):
        value = colours[:, channel] / 255.0
        low, high = 0.5, 2.0
        for _ in range(30):
            power = 0.5 * (low + high)
            if float(normalised @ value**power) * 255.0 > target[channel]:
                low = power
            else:
                high = power
        result[:, channel] = value**power * 255.0
    return result


# --------------------------------------------------------------------------------------------- render


def outline_distance(region: np.ndarray) -> np.ndarray:
    """Distance (px), (H, W), to the nearest change of region."""
    inside = np.full(region.shape, 255, np.uint8)
    inside[:, 1:][region[:, 1:] != region[:, :-1]] = 0
    inside[1:, :][region[1:, :] != region[:-1, :]] = 0
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def joint_gap(scene: Scene, owner: np.ndarray, nearest: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Second minus nearest distance (H, W), px: zero in the middle of a joint, growing into the tiles."""
    far = 4 * scene.canvas.pitch
    covered = owner >= 0
    gap = np.where(np.isfinite(second), second, far) - np.where(covered, nearest, far)
    # Twice the distance to an outline compares with the gap, which grows by two per pixel from a joint.
    return np.where(covered, np.minimum(gap, 2 * outline_distance(scene.region)), 0).astype(np.float32)


def shade(
    pitch: float, gap: np.ndarray, edge: np.ndarray, owner: np.ndarray, sites: Sites, rng: np.random.Generator
) -> np.ndarray:
    """Relative brightness (H, W): bevel lit from the top left, and a faint glassy slope inside each tile.

    gap: second minus nearest distance, px; edge: the joint's threshold on it, px; both (H, W).
    """
    soft = cv2.GaussianBlur(np.minimum(gap, pitch), (0, 0), 0.04 * pitch)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    norm = np.maximum(np.hypot(gx, gy), 1e-3)
    # The gap grows inwards, so its gradient points down-right at a tile's top-left edge.
    facing = (gx + gy) / (norm * math.sqrt(2))
    bevel = np.clip(1 - (gap - edge) / (BEVEL_WIDTH * pitch), 0, 1) * facing
    heading = rng.uniform(0, 2 * math.pi, len(sites.x))
    height, width = owner.shape
    dx = np.arange(width, dtype=np.float32)[None, :] - sites.x[owner]
    dy = np.arange(height, dtype=np.float32)[:, None] - sites.y[owner]
    slope = (dx * np.cos(heading)[owner] + dy * np.sin(heading)[owner]) / (0.5 * pitch)
    return 1 + BEVEL_STRENGTH * bevel + GLASS_STRENGTH * np.clip(slope, -1, 1)


def render(scene: Scene, sites: Sites, rng: np.random.Generator) -> np.ndarray:
    """The supersampled image, padding removed: (S, S, 3) float32 RGB, 0..255."""
    canvas = scene.canvas
    owner, nearest, second = z_buffers(scene, sites)
    gap = joint_gap(scene, owner, nearest, second)
    widths = JOINT_WIDTH * canvas.pitch * rng.uniform(*JOINT_JITTER, len(sites.x))
    edge = widths[owner].astype(np.float32)
    cover = np.clip((gap - edge) / 2 + 0.5, 0, 1) * (owner >= 0)
    light = shade(canvas.pitch, gap, edge, owner, sites, rng)
    colours = tile_colours(scene, sites, rng)
    inner = (slice(canvas.pad, -canvas.pad),) * 2
    # Owner -1 (no tile) is counted in bin 0 and dropped.
    weights = np.bincount(owner[inner].ravel() + 1, cover[inner].ravel(), len(sites.x) + 1)[1:]
    fraction = weights.sum() / cover[inner].size
    wanted = (np.array(TARGET_MEAN) - (1 - fraction) * np.array(JOINT_RGB)) / fraction
    colours = balance(colours, weights, wanted)
    tiles = np.clip(colours[owner] * light[..., None], 0, 255)
    image = cover[..., None] * tiles + (1 - cover[..., None]) * np.array(JOINT_RGB)
    return image[inner].astype(np.float32)


def draw(size: int, tile: float, seed: int) -> np.ndarray:
    """The finished mosaic: (size, size, 3) uint8 RGB with rows `tile` px high."""
    rng = np.random.default_rng(seed)
    coarse = build_scene(Canvas(size, tile))
    sites = relax(coarse, lay_rows(coarse, rng))
    fine = build_scene(Canvas(size * SUPERSAMPLE, tile * SUPERSAMPLE))
    # Index i is the pixel centre i + 0.5, and the two canvases differ in padding.
    shift = SUPERSAMPLE * (0.5 - coarse.canvas.pad) - 0.5 + fine.canvas.pad
    sites.x, sites.y = SUPERSAMPLE * sites.x + shift, SUPERSAMPLE * sites.y + shift
    image = cv2.resize(render(fine, sites, rng), (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Draw a procedural mosaic image.")
    parser.add_argument("out", metavar="OUT.png")
    parser.add_argument("--size", type=int, default=768, help="side of the image, px")
    parser.add_argument("--tile", type=float, default=18.0, help="tile pitch, px")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    image = draw(args.size, args.tile, args.seed)
    if not cv2.imwrite(args.out, cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"could not write {args.out}")
    mean = image.reshape(-1, 3).mean(axis=0)
    print(f"{args.out}: {args.size} px, mean RGB {mean[0]:.0f} {mean[1]:.0f} {mean[2]:.0f}")


if __name__ == "__main__":
    main()
