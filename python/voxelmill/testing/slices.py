"""Made slices, as `normalize` leaves them: for tests of what follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from ..core import manifest, slice_config
from ..core.space import MM, NM_PER_MM, Axis, Space
from ..core.volume import create_image, layout, open_image
from ..transform.pairs import Pair
from ..transform.warp import SectionTransform, apply, centre_of, render, rigid_matrix
from .oct import Acquisition
from .stages import run_stage

STEP = 0.01  # mm
THICK = 0.16  # mm, of the slices of `registered`


def slice_store(
    folder: Path, n: int, values: np.ndarray, origin: tuple[float, float, float] = (0, 0, 0), step: float = STEP
) -> Path:
    path = folder / f"slice_z{n:02d}_normalize.ome.zarr"
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (step,) * 3, origin)
    lay = layout(values.shape, "float32", (64, 64, 64), (32, 32, 32))
    create_image(path, lay, space).write(tuple(slice(0, k) for k in values.shape), values.astype(np.float32))
    manifest.write(path)
    return path


def texture(shape: tuple[int, ...], seed: int = 0, grain: float = 1.5) -> np.ndarray:
    from scipy import ndimage

    made = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), grain)
    return (0.2 + 0.6 * (made - made.min()) / np.ptp(made)).astype(np.float32)


def slanting(depth: int) -> np.ndarray:
    """Tissue that slants: each plane lies 0.3 px further along dim 1 than the one before."""
    from scipy import ndimage

    planes = enumerate(texture((depth, 120, 130)))
    return np.stack([ndimage.shift(plane, (0.3 * z, 0), mode="mirror") for z, plane in planes])


def one_tile(**settings: Any) -> Acquisition:
    """An acquisition of slices of one tile each, evenly lit."""
    given = {"grid": (1, 1), "tile": (40, 176, 160), "jitter": 0.0, "overlap": 0.0, "vignetting": 0.0, "drift": 4.0}
    return Acquisition(**{**given, **settings})


def clean(made: Acquisition, s: int) -> np.ndarray:
    """Slice s as `normalize` leaves it: from its surface on, light along depth made even, 0 to 1."""
    seen = made.mosaic(s)[int(made.surface) :]
    seen /= np.median(seen, axis=(1, 2), keepdims=True) + seen.mean(axis=(1, 2), keepdims=True)
    return (seen / 4).clip(0.001, 1).astype(np.float32)


def in_common_space(folder: Path, made: Acquisition) -> dict[int, Path]:
    """Slices of a made acquisition on one canvas, with `common_space.json` beside them; by number."""
    from ..core.shifts import Shift, places
    from ..core.stage import Out
    from ..transform.bring_to_common_space import place_on_canvas
    from ..transform.plan_common_space import extents, plan

    folder.mkdir(exist_ok=True)
    raw = {s: slice_store(folder / "raw", s, clean(made, s), step=made.voxel_um[1] / 1000) for s in made.kept}
    images = {s: open_image(path) for s, path in raw.items()}
    rows = [Shift(r["fixed_id"], r["moving_id"], r["x_shift_mm"], r["y_shift_mm"]) for r in made.shifts()]  # type: ignore
    space = plan(*extents(images, places(rows, images)))
    (folder / "common_space.json").write_text(space.model_dump_json())
    out = {s: folder / f"slice_z{s:02d}_normalize.ome.zarr" for s in raw}
    for s, path in out.items():
        place_on_canvas(images[s], Out(path), space, space.slices[s])
        manifest.write(path)
    return out


@cache
def registered(missing: tuple[int, ...] = (), seed: int = 7) -> tuple[Acquisition, Path, dict[int, Path]]:
    """Four slices, some missing, in common space, and their neighbours registered."""
    folder = Path(mkdtemp())
    made = one_tile(slices=4, missing=missing, seed=seed)
    stores = in_common_space(folder, made)
    register(folder, made, stores)
    return made, folder, stores


@cache
def spoiled() -> tuple[Acquisition, Path, dict[int, Path]]:
    """As `registered`, but slice 2 shows agarose alone; pairs two apart, too."""
    folder = Path(mkdtemp())
    made = one_tile(slices=4, spoiled=(2,))
    stores = in_common_space(folder, made)
    register(folder, made, stores, 2)
    return made, folder, stores


@cache
def torn(seed: int = 7) -> tuple[Acquisition, Path, dict[int, Path]]:
    """As `registered`, where of each second slice the larger part has slipped by 11 px and turned by 2 degrees."""

    def slipped(values: np.ndarray) -> np.ndarray:
        cut, slip = int(0.4 * values.shape[1]), rigid_matrix(9, -7, 2.0, centre_of(values.shape[1:]))
        for plane in values:
            plane[cut:] = render(plane, SectionTransform(slip))[cut:]
        return values

    return harmed(one_tile(slices=4, seed=seed), slipped)


@cache
def tilted(looks: float = 6.0, seed: int = 7) -> tuple[Acquisition, Path, dict[int, Path]]:
    """As `registered`, where each second slice was cut 8 degrees off: along dim 1 its planes lie ever deeper."""

    def leaning(values: np.ndarray) -> np.ndarray:
        from scipy import ndimage

        z, x, y = np.indices(values.shape, np.float32)
        deeper = np.tan(np.deg2rad(8)) * (x - values.shape[1] / 2)
        return ndimage.map_coordinates(values, [z + deeper, x, y], order=1, mode="nearest")

    return harmed(one_tile(slices=4, looks=looks, seed=seed), leaning)


def harmed(made: Acquisition, harm: Callable[[np.ndarray], np.ndarray]) -> tuple[Acquisition, Path, dict[int, Path]]:
    """Slices in common space, registered, of which each second one was harmed."""
    folder, stores = Path(mkdtemp()), {}
    for s, path in in_common_space(folder / "whole", made).items():
        image = open_image(path)
        values = harm(image.read()) if s % 2 else image.read()
        origin = tuple(v / NM_PER_MM for v in image.origin)
        stores[s] = slice_store(folder, s, values, origin, image.scale[0] / NM_PER_MM)  # type: ignore[arg-type]
    register(folder, made, stores)
    return made, folder, stores


def register(folder: Path, made: Acquisition, stores: dict[int, Path], steps: int = 1) -> None:
    """Metrics and transforms of slices up to `steps` apart, and a slice configuration."""
    for a, b in [pair for step in range(1, steps + 1) for pair in zip(made.kept, made.kept[step:])]:
        out = {"transform": f"{a}-{b}.tfm", "metrics": f"{a}-{b}.json", "offsets": f"{a}-{b}.txt"}
        given = {"fixed": stores[a], "moving": stores[b], "name": f"z{a:02d}-z{b:02d}"}
        flags = {"registration_slicing_interval_mm": THICK}
        assert run_stage("transform.register_pairwise", folder, **given, **flags, **out) == 0
    slice_config.write(folder / "config.csv", slice_config.of(made.kept))


def alignment_error(made: Acquisition, stores: dict[int, Path], plan: Path) -> float:
    """px RMS by which what slices show at one place of the volume lies apart in the block, by a plan of the stack."""
    laid = json.loads(plan.read_text())
    side = np.linspace(0.25, 0.75, 7)
    points = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2) * laid["shape"][1:]
    found = []
    for s in laid["slices"]:
        origin = np.array(open_image(stores[s["number"]]).origin[1:]) / NM_PER_MM / STEP
        found.append(made.to_block(s["number"], apply(np.array(s["matrix"]), points) + origin + made.stage[0]))
    off = np.array(found) - np.mean(found, axis=0)
    return float(np.sqrt((off**2).sum(-1).mean()))


def metrics_in(source: Path) -> list[Path]:
    """Of the pairs that `register` has left there."""
    return [path for path in sorted(source.glob("*-*.json")) if not path.name.endswith(("manifest.json", "provenance.json"))]


def stacked(
    folder: Path, stores: dict[int, Path], source: Path, *, block: str = "", config: Path | None = None, **flags: Any
) -> Path:
    """The stack of slices, by the pairs in `source`; a store in `folder`."""
    grid = {"chunk": "8,64,64", "shard": "16,128,128"}
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": list(stores.values()), "metrics": metrics_in(source), "config": config or source / "config.csv"}
    flags = {"registration_slicing_interval_mm": THICK, **flags}
    assert run_stage("transform.plan_stack", folder, **given, **grid, **flags, **out) == 0
    shape = json.loads((folder / "plan.json").read_text())["shape"]
    shards = np.prod([-(-n // s) for n, s in zip(shape, (16, 128, 128))])
    given = {
        "volumes": list(stores.values()),
        "plan": "plan.json",
        "block": block or f"0-{shards - 1}",
        "output": "out.ome.zarr",
    }
    assert run_stage("transform.stack", folder, **given, **grid) == 0
    return folder / "out.ome.zarr"


def pair(fixed: int, moving: int, **more: Any) -> Pair:
    """A pair that is well registered, but for what `more` says."""
    given: dict[str, Any] = {"confidence": 0.9, "z_correlation": 0.8, "correlation": 0.8, "status": "ok"} | more
    return Pair(fixed=fixed, moving=moving, fixed_z=20, moving_z=4, expected_z=20, **given)
