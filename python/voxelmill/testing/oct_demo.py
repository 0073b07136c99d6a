"""The demo of serial sections: raw tiles made on the spot, and what came out of them against what they really show.

made/raw/           tiles, as the microscope leaves them; slice 3 was never imaged
made/atlas.nii.gz   an atlas of the block, in RAS (`oct_atlas.py`)
made/truth.json     all that they were made with
"""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.volume import open_image
from . import oct_atlas
from .oct import Acquisition, write_raw
from .oct_score import tile_error, volume_score

DEMO = Acquisition(slices=5, missing=(3,), grid=(3, 3), tile=(48, 96, 96))


def make(folder: Path, made: Acquisition = DEMO) -> None:
    """Write raw tiles and their truth; nothing where they lie there already."""
    truth, text = folder / "truth.json", json.dumps({**made.truth(), "atlas": oct_atlas.truth()}, indent=1)
    if truth.exists() and truth.read_text() == text:
        return
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: holds something else; expected a folder that is empty or not there")
    write_raw(folder / "raw", made)
    oct_atlas.write(folder, made)
    truth.write_text(text)


def read(folder: Path) -> Acquisition:
    """The acquisition that `make` has written there."""
    try:
        known = json.loads((folder / "truth.json").read_text())
    except FileNotFoundError:
        raise DataError(f"{folder}: no truth.json in it; make an acquisition with voxelmill make-oct {folder}") from None
    given: dict[str, Any] = {f.name: known[f.name] for f in fields(Acquisition) if f.name in known}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Acquisition(**{**given, "rehomed": {int(s): tuple(off) for s, off in given["rehomed"].items()}})


def scores(made: Acquisition, results: Path) -> list[str]:
    """Lines about the results of `reconstruct`: tiles, the volume, and that in the atlas's frame where there is one."""
    found = {s: results / f"stitch_3d_with_refinement/slice_z{s:02d}_tiles.csv" for s in made.kept}
    placed = {s: tile_positions(path) for s, path in found.items() if path.exists()}
    volumes = sorted(results.glob("stack/*.ome.zarr"))
    if not placed or len(volumes) != 1:
        raise DataError(f"{results}: {len(placed)} tables of tiles, {len(volumes)} volumes; expected what reconstruct leaves")
    off = [(tile_error(made, s, at), tile_error(made, s, np.array(made.tiles) * made.step)) for s, at in placed.items()]
    tiles, stage = np.sqrt((np.array(off) ** 2).mean(0))
    volume = volume_score(made, open_image(volumes[0]).read())
    lines = [
        f"slices   {len(placed)} of {len(made.kept)}",
        f"tiles    {tiles:.2f} px RMS beside the truth; as the stage had them {stage:.2f}",
        f"planes   {volume['plane_shift_rms_px']:.2f} px RMS beside the truth, {volume['plane_shift_max_px']:.2f} at most",
        f"tissue   correlation with the truth {volume['correlation']:.2f}, {volume['planes']:.0f} planes",
    ]
    for path in sorted(results.glob("align_to_ras/*.ome.zarr")):
        beside = np.linalg.norm(oct_atlas.off(made, open_image(path)), axis=1)
        lines.append(f"atlas    {np.sqrt((beside**2).mean()):.2f} voxels RMS beside the atlas, {beside.max():.2f} at most")
    return lines


def tile_positions(path: Path) -> np.ndarray:
    """(tiles, 2) px, from the table of a slice."""
    with open(path, newline="") as file:
        return np.array([(float(row["y"]), float(row["x"])) for row in csv.DictReader(file)])
