"""Atlases: NIfTI, NRRD, OME-Zarr, or a folder of BrainGlobe, as grey values in RAS.

| format | where it says which way axes point |
|---|---|
| NIfTI-1 (`.nii`, `.nii.gz`) | sform, else qform |
| NRRD | `space` and `space directions` |
| OME-Zarr | `orientation` of the axes (`left-to-right`, ...), as volumes in RAS that we write have it |
| BrainGlobe (`metadata.json`, `reference.tiff`) | `orientation`: letters say where the first voxel lies, so `asr` is PIL |

One that does not say it is refused: a mirrored brain looks like a brain.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.metadata import attributes
from ..core.orientation import affine
from ..core.space import NM_PER_MM
from ..core.volume import open_image
from .affine_registration import Scan
from .resampling import along_axes, cells, means

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
MM_PER = {1: 1000.0, 2: 1.0, 3: 0.001, 0: 1.0}  # NIfTI's units of length; by custom mm where none is stated
OPPOSITE = dict(zip("RLAPSI", "LRPAIS"))
OBLIQUE = 0.02  # of an axis that may point elsewhere


def read_atlas(path: Path, resolution_um: float) -> Scan:
    """The atlas, with voxels of `resolution_um` where its own are finer; axes S, A, R.

    Raises DataError for a format that is not known, a file that is not whole or shows nothing, and for an atlas that does
    not say which way its axes point."""
    try:
        values, to_ras = _read(path, resolution_um)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, LookupError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an atlas ({type(error).__name__}: {error}); is it whole?") from None
    values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)  # outside of a mask
    if values.size == 0 or values.min() == values.max():
        raise DataError(f"{path}: shows nothing, all its values are alike; expected the grey values of a brain")
    return coarser(turned(values, to_ras, path), resolution_um / 1000)


def _read(path: Path, resolution_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Values in the file's order and their affine, of any format."""
    if (path / "metadata.json").exists():
        return brainglobe(path)
    if path.is_dir():
        return ome_zarr(path, resolution_um)
    if path.name.endswith((".nii", ".nii.gz")):
        return nifti(path)
    if path.suffix in (".nrrd", ".nhdr"):
        return nrrd(path)
    raise DataError(f"{path}: expected an atlas as .nii, .nii.gz, .nrrd, OME-Zarr or a folder of BrainGlobe")


def turned(values: np.ndarray, to_ras: np.ndarray, path: Path | str) -> Scan:
    """An array in the order S, A, R. to_ras: (4, 4) from its voxels to R, A, S in mm.

    Raises DataError where its axes are not those of the frame."""
    scale = np.linalg.norm(to_ras[:3, :3], axis=0)
    turn = to_ras[:3, :3] / scale
    whole = np.round(turn)
    if abs(turn - whole).max() > OBLIQUE or abs(np.linalg.det(whole)) != 1:
        raise DataError(f"{path}: its axes lie obliquely in the frame that it names; resample it along R, A, S first")
    dims = [int(np.flatnonzero(whole[row])[0]) for row in (2, 1, 0)]
    corner = np.zeros(3)
    for row, dim in zip((2, 1, 0), dims):
        if whole[row, dim] < 0:
            corner[dim] = values.shape[dim] - 1
            values = np.flip(values, dim)
    origin = (to_ras[:3, :3] @ corner + to_ras[:3, 3])[::-1]
    return Scan(np.ascontiguousarray(values.transpose(dims), np.float32), scale[dims], origin)


def coarser(scan: Scan, size: float) -> Scan:
    """With voxels of this size (mm), by means, along axes where they are finer."""
    steps = [s if s > 1.01 else 1.0 for s in size / scan.scale]
    matrices = [means(n, slice(0, cells(n, s)), s)[1] for n, s in zip(scan.values.shape, steps)]
    values = scan.values if max(steps) == 1 else along_axes(scan.values, matrices)
    return Scan(values, scan.scale * steps, scan.origin + scan.scale * (np.array(steps) - 1) / 2)


def nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (k, j, i) and the affine of these."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    order = "<" if raw[:4] == struct.pack("<i", 348) else ">"
    if len(raw) < 352 or struct.unpack_from(f"{order}i", raw)[0] != 348:
        raise DataError(f"{path}: not a NIfTI-1 file")
    size = struct.unpack_from(f"{order}8h", raw, 40)
    kind, sizes = struct.unpack_from(f"{order}h", raw, 70)[0], struct.unpack_from(f"{order}8f", raw, 76)
    begin, slope, inter = struct.unpack_from(f"{order}3f", raw, 108)
    qform, sform = struct.unpack_from(f"{order}2h", raw, 252)
    if size[0] < 3 or max(size[4 : size[0] + 1], default=1) > 1 or kind not in TYPES:
        raise DataError(f"{path}: {size[0]} axes of sizes {size[1 : size[0] + 1]}, type {kind}; expected one grey volume")
    bytes_of = max(size[3], 0) * max(size[2], 0) * max(size[1], 0) * int(TYPES[kind][1])
    if raw[344:347] != b"n+1" or not bytes_of or not 0 <= begin <= len(raw) - bytes_of:
        raise DataError(f"{path}: {len(raw)} bytes, {bytes_of} of them voxels from byte {begin:g} on; expected a whole .nii")
    if sform > 0:
        made = np.array(struct.unpack_from(f"{order}12f", raw, 280)).reshape(3, 4)
    elif qform > 0:
        made = of_quaternion(struct.unpack_from(f"{order}6f", raw, 256), sizes)
    else:
        raise DataError(f"{path}: no orientation (neither sform nor qform); write it with one, so that left is not right")
    values = np.frombuffer(raw, f"{order}{TYPES[kind]}", int(np.prod(size[1:4])), int(begin)).reshape(size[3:0:-1])
    values = values * slope + inter if slope and np.isfinite(slope + inter) else values  # else not scaled
    to_ras = np.eye(4)
    to_ras[:3] = made[:, [2, 1, 0, 3]] * MM_PER.get(raw[123] & 7, 1.0)
    return values, to_ras


def of_quaternion(form: tuple[float, ...], sizes: tuple[float, ...]) -> np.ndarray:
    """(3, 4) that a qform states."""
    from scipy.spatial.transform import Rotation

    b, c, d, *offset = form
    rest = 1 - b * b - c * c - d * d
    turn = Rotation.from_quat([b, c, d, np.sqrt(rest) if rest > 1e-6 else 0.0]).as_matrix()  # 0: half a turn, rounded
    return np.column_stack([turn * (1, 1, -1 if sizes[0] < 0 else 1) * sizes[1:4], offset])


def nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values in the file's order and their affine."""
    import nrrd as reader

    try:
        values, header = reader.read(str(path))
    except reader.NRRDError as error:
        raise ValueError(error) from None
    words = str(header.get("space", "")).lower().replace("-", " ").split()
    if len(words) == 1 and len(words[0]) == 3:  # RAS, LPS
        long = ("right", "left", "anterior", "posterior", "superior", "inferior")
        words = [next(word for word in long if word[0] == letter) for letter in words[0]]
    if len(words) != 3 or "space directions" not in header or values.ndim != 3:
        raise DataError(f"{path}: no orientation (space and space directions); write it with both, so that left is not right")
    units = [str(unit).strip('"') for unit in header.get("space units", ["mm"])]
    per_mm = {"mm": 1.0, "um": 0.001, "µm": 0.001, "micron": 0.001, "microns": 0.001}.get(units[0], 1.0)
    signs = np.diag([1.0 if word in ("right", "anterior", "superior") else -1.0 for word in words])
    made = np.eye(4)
    made[:3, :3] = signs @ np.array(header["space directions"], float).T * per_mm
    made[:3, 3] = signs @ np.array(header.get("space origin", (0, 0, 0)), float) * per_mm
    return values, made


def ome_zarr(path: Path, resolution_um: float) -> tuple[np.ndarray, np.ndarray]:
    """The coarsest level that is as fine as wanted, and its affine."""
    image = open_image(path)
    entry = attributes(path)["multiscales"][0]
    axes = entry.get("axes") or entry["coordinateSystems"][0]["axes"]
    stated = [str((axis.get("orientation") or {}).get("value", "")).rpartition("-to-")[2][:1].upper() for axis in axes]
    if len(stated) != 3 or not all(letter in OPPOSITE for letter in stated if letter) or not all(stated):
        raise DataError(f"{path}: no orientation of its axes; use an atlas as NIfTI or NRRD, so that left is not right")
    fit = [n for n in range(image.levels) if max(image.at_level(n).scale) <= resolution_um * 1010]
    space = image.at_level(max(fit, default=0))
    scale, origin = ([v / NM_PER_MM for v in values] for values in (space.scale, space.origin))
    return image.read(level=max(fit, default=0)), affine("".join(stated), scale, origin)


def brainglobe(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The reference image of a folder of BrainGlobe and its affine."""
    import tifffile

    told: dict[str, Any] = json.loads((path / "metadata.json").read_text())
    letters = str(told.get("orientation", "")).upper()
    if len(letters) != 3 or "resolution" not in told:
        raise DataError(f"{path}/metadata.json: no orientation and resolution; expected a folder that BrainGlobe has made")
    code = "".join(OPPOSITE[letter] for letter in letters)
    return tifffile.imread(path / "reference.tiff"), affine(code, [r / 1000 for r in told["resolution"]], (0, 0, 0))
