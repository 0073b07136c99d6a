"""Meshes at their levels of detail: triangles, bytes, area, volume, and how far they lie from the finest; and a picture.

    python benchmarks/meshes.py RESULTS [--neurites 10] [--picture lods.png]

RESULTS is the folder of a finished `connectome`, or one that holds `meshes/`. How far: from random points of a level to the
finest level's triangles, and back, in units of the level's scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from voxelmill.core.pictures import save_png
from voxelmill.postprocess.surface import area
from voxelmill.serving import meshes, neurons

POINTS = 20_000  # of a level, by area


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("results", type=Path)
    words.add_argument("--neurites", type=int, default=10, help="the largest, by bytes")
    words.add_argument("--picture", type=Path)
    asked = words.parse_args()
    folder = asked.results / "meshes"
    paths = sorted(folder.glob("*.index"), key=lambda path: -path.with_suffix("").stat().st_size)[: asked.neurites]
    paths = [path for path in paths if len(meshes.manifest_of(folder, int(path.stem)).scales) >= meshes.LODS]
    if not paths:
        raise SystemExit(f"{folder}: no meshes of {meshes.LODS} levels or more")
    print("lod  triangles   bytes  area  volume  median  99 %  most")
    found = [[meshes.read(folder, int(path.stem), lod) for path in paths] for lod in range(meshes.LODS)]
    scales = meshes.manifest_of(folder, int(paths[0].stem)).scales
    rng = np.random.default_rng(0)
    for lod, of in enumerate(found):
        far = np.concatenate([distances(rng, one, whole) for one, whole in zip(of, found[0])]) / scales[lod]
        sizes = [sum(meshes.manifest_of(folder, int(path.stem)).sizes[lod]) for path in paths]
        areas, volumes = (sum(map(measure, *zip(*of))) / sum(map(measure, *zip(*found[0]))) for measure in (area, volume))
        print(
            f"{lod:3} {sum(len(t) for _, t in of):10} {sum(sizes):7} {areas:5.3f} {volumes:7.3f}"
            f" {np.median(far):7.3f} {np.quantile(far, 0.99):5.2f} {far.max():5.2f}"
        )
    if asked.picture:
        draw(found, asked.picture)


def volume(position: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = position[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def distances(rng: np.random.Generator, one: meshes.Mesh, other: meshes.Mesh) -> np.ndarray:
    """From points of either to the nearest of twenty times as many points of the other."""
    from scipy.spatial import cKDTree

    far = []
    for start, end in ((one, other), (other, one)):
        near, _ = cKDTree(points(rng, end, 20 * POINTS)).query(points(rng, start, POINTS))
        far.append(near)
    return np.concatenate(far)


def points(rng: np.random.Generator, mesh: meshes.Mesh, count: int) -> np.ndarray:
    """Random points of a mesh, by area."""
    a, b, c = mesh[0][mesh[1]].transpose(1, 0, 2)
    size = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    of = rng.choice(len(size), count, p=size / size.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[of] + u * (b - a)[of] + v * (c - a)[of]


def draw(found: list[list[meshes.Mesh]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = matplotlib.colormaps["tab10"](np.arange(10))[:, :3]
    figure, axes = plt.subplots(1, len(found), figsize=(6 * len(found), 6), layout="constrained")
    for lod, (ax, of) in enumerate(zip(axes, found)):
        extent, picture = neurons.rendered(of, colours, 1200)
        ax.imshow(picture, extent=extent)
        ax.set_title(f"level {lod}: {sum(len(t) for _, t in of)} triangles")
        ax.axis("off")
    save_png(figure, path, 150)


if __name__ == "__main__":
    main()
