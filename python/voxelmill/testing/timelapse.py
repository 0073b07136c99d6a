"""Made time-lapse movies whose truth is known: phase contrast, fluorescence, labels, tracks, background.

The model: cells are star-shaped outlines that walk, repel each other, divide and enter through the
border. Phase contrast draws each with a textured body, a dark inside, a bright halo along the outline
and a bright ring inside, over uneven illumination, haze and debris. Fluorescence follows a maturation
curve per cell, spread evenly over its mask, over a smooth background that bleaches.

Same arguments, numpy and scipy give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PRESETS: dict[str, dict[str, float]] = {
    "sparse": {"cells": 60, "gap": 1.25, "speed": 1.5, "divide": 0.004, "enter": 0.05},
    "dense": {"cells": 150, "gap": 0.95, "speed": 1.5, "divide": 0.004, "enter": 0.05},
    "fast": {"cells": 60, "gap": 1.25, "speed": 9.0, "divide": 0.004, "enter": 0.2},
    "pattern": {"cells": 30, "gap": 2.2, "speed": 0.5, "divide": 0.0, "enter": 0.0},
}
OFFSET = 200.0  # camera offset, counts
TEXTURE = 96  # side of the texture tile of a cell, px
MIN_AREA = 30  # px; what is smaller is a sliver at the border, no cell


@dataclass(frozen=True, slots=True)
class Movie:
    """One field of view and its truth.

    phase: uint16 (T, Y, X), counts.
    fluorescence: uint16 (C, T, Y, X), counts, camera offset and background included.
    labels: uint16 (T, Y, X), track ids, 0 = background.
    background: float32 (C, T, Y, X), noise-free fluorescence background in counts, offset included.
    tracks: rows (id, first frame, last frame, parent id or 0), frames inclusive.
    cells: columns `cell, frame, y, x, area, total_ch_1, ...`, one row per cell and frame; y, x is the
        centre of mass in px, total the true integrated signal in counts.
    """

    phase: np.ndarray
    fluorescence: np.ndarray
    labels: np.ndarray
    background: np.ndarray
    tracks: list[tuple[int, int, int, int]]
    cells: dict[str, np.ndarray]


class _Cell:
    """One track: pose, outline and expression constants."""

    def __init__(self, rng, ident, t, y, x, radius, n_fl, parent=0, share=None):
        from scipy.ndimage import gaussian_filter

        self.id, self.first, self.parent = ident, t, parent
        self.y, self.x, self.r = y, x, radius
        self.vy = self.vx = 0.0
        self.angle = rng.uniform(0, np.pi)
        self.ecc = rng.uniform(0.75, 1.0)
        self.coef = rng.normal(0, 0.05, (3, 2))
        self.tex = gaussian_filter(rng.normal(0, 1, (TEXTURE, TEXTURE)), 1.6)
        self.tex /= self.tex.std()
        if share is None:
            share = (np.exp(rng.normal(np.log(3e5), 0.6, n_fl)), rng.uniform(0, 12, n_fl), rng.uniform(0.03, 0.08, n_fl), 1.0)
        self.amp, self.t0, self.rate, self.frac = share

    def total(self, t):
        """True integrated fluorescence per channel at frame t."""
        return self.frac * self.amp * (1 - np.exp(-self.rate * np.maximum(t - self.t0, 0))) + 2e3

    def level(self, size):
        """Signed level (about px, > 0 inside) on the cell's own patch, or None outside the frame."""
        half = int(np.ceil(self.r * 1.9)) + 6
        y0, x0 = round(self.y) - half, round(self.x) - half
        ys = slice(max(y0, 0), min(y0 + 2 * half + 1, size))
        xs = slice(max(x0, 0), min(x0 + 2 * half + 1, size))
        if ys.start >= ys.stop or xs.start >= xs.stop:
            return None
        yy, xx = np.mgrid[ys, xs].astype(np.float32)
        dy, dx = yy - self.y, xx - self.x
        c, s = np.cos(self.angle), np.sin(self.angle)
        u, v = (c * dx + s * dy), (-s * dx + c * dy) / self.ecc
        rho, theta = np.hypot(u, v), np.arctan2(v, u)
        edge = np.ones_like(rho)
        for k, (a, b) in enumerate(self.coef, start=2):
            edge += a * np.cos(k * theta) + b * np.sin(k * theta)
        return ys, xs, self.r * edge - rho, u, v


def _step(cells, rng, speed, gap):
    """Persistent random walk with soft repulsion and slow shape change."""
    for c in cells:
        c.vy = 0.8 * c.vy + rng.normal(0, 0.6 * speed)
        c.vx = 0.8 * c.vx + rng.normal(0, 0.6 * speed)
        norm, limit = np.hypot(c.vy, c.vx), 2.0 * speed
        if norm > limit:
            c.vy, c.vx = c.vy * limit / norm, c.vx * limit / norm
        c.y, c.x = c.y + c.vy, c.x + c.vx
        c.angle += rng.normal(0, 0.03)
        c.coef = 0.97 * c.coef + rng.normal(0, 0.012, c.coef.shape)
        c.r += (18.0 - c.r) * 0.02
    for _ in range(4 if len(cells) > 1 else 0):
        p = np.array([[c.y, c.x] for c in cells])
        r = np.array([c.r for c in cells])
        d = p[:, None] - p[None]
        dist = np.hypot(d[..., 0], d[..., 1]) + np.eye(len(cells)) * 1e6
        need = gap * (r[:, None] + r[None]) - dist
        p += 0.35 * (np.where(need > 0, need, 0)[..., None] * d / dist[..., None]).sum(1)
        for c, (y, x) in zip(cells, p):
            c.y, c.x = y, x


def _counts(image):
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def _render(cells, rng, t, size, n_fl, still, fl_bg):
    """One frame: phase, fluorescence, labels, table rows, cells seen. `still` is what does not move."""
    from scipy import ndimage as ndi

    best = np.zeros((size, size), np.float32)
    labels = np.zeros((size, size), np.uint16)
    phase = still.copy()
    drawn = []
    for c in cells:
        level = c.level(size)
        if level is None:
            continue
        ys, xs, d, u, v = level
        take = (d > 0) & (d > best[ys, xs])
        best[ys, xs][take] = d[take]
        labels[ys, xs][take] = c.id
        where = [v * 1.2 + TEXTURE / 2, u * 1.2 + TEXTURE / 2]
        texture = ndi.map_coordinates(c.tex, where, order=1, mode="wrap")
        phase[ys, xs] += np.clip(d / 2.0 + 0.5, 0, 1) * (-1200 + 1500 * texture)
        phase[ys, xs] += 3200 * np.exp(-((d + 1.5) ** 2) / 5.0)
        phase[ys, xs] += 900 * np.exp(-((d - 0.45 * c.r) ** 2) / 12.0)
        drawn.append(c)
    area = np.bincount(labels.ravel(), minlength=max((c.id for c in drawn), default=0) + 1)
    labels[np.isin(labels, [c.id for c in drawn if area[c.id] < MIN_AREA])] = 0
    drawn = [c for c in drawn if area[c.id] >= MIN_AREA]
    centres = ndi.center_of_mass(labels > 0, labels, [c.id for c in drawn]) if drawn else []
    rows, fl = [], np.zeros((n_fl, size, size), np.float32)
    for c, (cy, cx) in zip(drawn, centres):
        n = int(area[c.id])
        visible = c.total(t) * min(1.0, n / (np.pi * c.r**2 * c.ecc))
        ys, xs = c.level(size)[:2]
        mask = labels[ys, xs] == c.id
        for k in range(n_fl):
            fl[k][ys, xs][mask] += visible[k] / n
        rows.append((c.id, t, cy, cx, n, *visible))
    noisy = np.empty_like(fl)
    for k in range(n_fl):
        mean = ndi.gaussian_filter(fl[k], 1.0) + fl_bg[k]
        noisy[k] = rng.poisson(mean) + OFFSET + rng.normal(0, 4.0, mean.shape)
    phase = ndi.gaussian_filter(phase, 0.7) + rng.normal(0, 160, phase.shape)
    return _counts(phase), _counts(noisy), labels, rows, drawn


def _divide_or_enter(cells, rng, t, size, n_fl, divide, enter, next_id):
    """The cells of frame t, after divisions and arrivals, and the next free id."""
    fresh = []
    for c in list(cells):
        inside = 40 < c.y < size - 40 and 40 < c.x < size - 40
        if inside and t - c.first > 8 and rng.random() < divide:
            cells.remove(c)
            for sign in (-1, 1):
                y = c.y + sign * 0.75 * c.r * np.sin(c.angle)
                x = c.x + sign * 0.75 * c.r * np.cos(c.angle)
                share = (c.amp, c.t0, c.rate, c.frac / 2)
                fresh.append(_Cell(rng, next_id, t, y, x, c.r / 1.3, n_fl, c.id, share))
                next_id += 1
    if rng.random() < enter:
        side, q = rng.integers(4), rng.uniform(0, size)
        y, x = [(-8, q), (size + 8, q), (q, -8), (q, size + 8)][side]
        fresh.append(_Cell(rng, next_id, t, y, x, rng.uniform(14, 20), n_fl))
        next_id += 1
    cells = [c for c in cells + fresh if -30 < c.y < size + 30 and -30 < c.x < size + 30]
    return cells, next_id


def make_movie(
    preset: str = "sparse",
    *,
    frames: int = 5,
    size: int = 256,
    channels: int = 1,
    seed: int = 0,
    fov: int = 0,
    **changes: float,
) -> Movie:
    """A movie of `frames` square frames of `size` px (at least 32), with `channels` fluorescence channels.

    preset: "sparse", "dense", "fast" or "pattern". Changes to it: `cells` (per 640 x 640 px), `gap`
    (least centre distance over the sum of radii; < 1 touches), `speed` (px per frame, about), `divide`
    (chance per cell and frame), `enter` (chance per frame). Radii are 14-20 px.
    `fov` makes another movie of the same `seed`.

    Raises ValueError for an unknown preset or change, or a size under 32.
    """
    from scipy.ndimage import gaussian_filter

    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; expected one of {', '.join(PRESETS)}")
    if unknown := set(changes) - set(PRESETS[preset]):
        raise ValueError(f"{sorted(unknown)} change nothing; expected some of {sorted(PRESETS[preset])}")
    if size < 32:
        raise ValueError(f"size is {size} px; expected at least 32, a cell is 36 px wide")
    how = PRESETS[preset] | changes
    gap, n_fl = how["gap"], channels
    rng = np.random.default_rng([seed, fov])
    yy, xx = np.mgrid[0:size, 0:size] / size - 0.5
    debris = 260 * gaussian_filter(rng.normal(0, 1, (size, size)), 6) * 6
    for _ in range(max(2, size // 128)):
        y, x = rng.integers(8, size - 8, 2)
        debris[y - 2 : y + 3, x - 2 : x + 3] += 5000
    still = 20000.0 * (1.0 + 0.05 * yy - 0.04 * xx) + debris

    cells: list[_Cell] = []
    tries = 0
    wanted = how["cells"] * (size / 640) ** 2
    while len(cells) < wanted and tries < 200 * wanted:
        tries += 1
        y, x = rng.uniform(0, size, 2)
        r = rng.uniform(14, 20)
        if all(np.hypot(y - c.y, x - c.x) > gap * (r + c.r) for c in cells):
            cells.append(_Cell(rng, len(cells) + 1, 0, y, x, r, n_fl))
    next_id = len(cells) + 1

    phase, labels = (np.zeros((frames, size, size), np.uint16) for _ in range(2))
    fluorescence = np.zeros((n_fl, frames, size, size), np.uint16)
    background = np.zeros((n_fl, frames, size, size), np.float32)
    seen: dict[int, tuple[int, int, int]] = {}
    table = []
    shape = 1.0 - 1.4 * (xx**2 + yy**2) + 0.25 * xx
    for t in range(frames):
        if t:
            _step(cells, rng, how["speed"], gap)
            cells, next_id = _divide_or_enter(cells, rng, t, size, n_fl, how["divide"], how["enter"], next_id)
        fl_bg = [(150 + 90 * k) * np.exp(-0.006 * t) * shape + 20 for k in range(n_fl)]
        phase[t], fluorescence[:, t], labels[t], rows, drawn = _render(cells, rng, t, size, n_fl, still, fl_bg)
        for k in range(n_fl):
            background[k, t] = fl_bg[k] + OFFSET
        table += rows
        for c in drawn:
            seen[c.id] = (seen.get(c.id, (t,))[0], t, c.parent)
    # a parent that was never drawn is no parent
    tracks = [(i, a, b, p if p in seen else 0) for i, (a, b, p) in sorted(seen.items())]
    names = ["cell", "frame", "y", "x", "area"] + [f"total_ch_{k + 1}" for k in range(n_fl)]
    columns = np.array(table, float).reshape(-1, len(names)).T
    whole = {"cell", "frame", "area"}
    table_of = {n: c.astype(np.int64) if n in whole else c for n, c in zip(names, columns)}
    return Movie(phase, fluorescence, labels, background, tracks, table_of)
