"""Export NIfTI: a level of the subject's volume as one file (NIfTI-1, gzip), for readers of medical images.

    voxel (i, j, k) = (dim 2, dim 1, dim 0) of the store     --affine-->     R, A, S in mm

The affine says which way axes point: values are not turned. It is written twice, as a matrix (sform) and as turns (qform):
readers differ in which they take. Without `--ras_input_orientation` axes are taken to be S, A, R, and the file says so.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.orientation import RAS, affine
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Oriented
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image

HELD = 32 << 20  # voxels in memory at a time
LONGEST = 32767  # voxels along an axis, in NIfTI-1
FLOAT32, MM, SCANNER = 16, 2, 1  # codes of the format


class Parameters(Oriented):
    """NIfTI of the subject's volumes."""

    nifti_level: int = param(0, "Pyramid level that the NIfTI file has; 0: full resolution", ge=0)


def run(p: Parameters, task: Task, *, volume: In, name: str = "", output: Out) -> None:
    """A volume named `..._ras` lies in RAS already."""
    image = open_image(volume)
    if p.nifti_level >= image.levels:
        raise DataError(f"{volume}: has levels 0 to {image.levels - 1}; give --nifti_level one of these")
    code = RAS if name.endswith("_ras") else p.ras_input_orientation
    write(output, image, p.nifti_level, code)
    task.report(orientation=code or "not stated", level=p.nifti_level)


def write(path: Path, image: Image, level: int, code: str) -> None:
    """Write a level, slab by slab; the same bytes every time.

    Raises DataError for what NIfTI-1 cannot hold."""
    shape = image.level(level).shape
    if max(shape) > LONGEST:
        raise DataError(f"{image.root}: {max(shape)} voxels along an axis; NIfTI-1 holds {LONGEST}. Use --nifti_level")
    space = image.at_level(level)
    to_ras = affine(code or RAS, [s / NM_PER_MM for s in space.scale], [o / NM_PER_MM for o in space.origin])
    step = max(1, HELD // (shape[1] * shape[2]))
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        file.write(header(shape, to_ras, f"orientation {code}" if code else "orientation not stated: as if SAR"))
        for z in range(0, shape[0], step):
            file.write(np.ascontiguousarray(image.read(np.s_[z : min(z + step, shape[0])], level), "<f4").tobytes())


def header(shape: tuple[int, ...], to_ras: np.ndarray, said: str) -> bytes:
    """The 352 bytes before the values. to_ras: (4, 4) from (dim 0, 1, 2) to mm."""
    matrix = to_ras[:3, [2, 1, 0, 3]]  # of (i, j, k)
    size = np.linalg.norm(matrix[:, :3], axis=0)
    turn = matrix[:, :3] / size
    handed = float(np.sign(np.linalg.det(turn)))
    b, c, d = quaternion(turn * (1, 1, handed))
    made = bytearray(352)
    fields: dict[int, tuple[Any, ...]] = {
        0: ("i", 348),
        40: ("8h", 3, *reversed(shape), 1, 1, 1, 1),
        70: ("2h", FLOAT32, 32),
        76: ("8f", handed, *size, 0, 0, 0, 0),
        108: ("3f", 352, 1, 0),  # where values begin; slope and intercept of values
        123: ("B", MM),
        148: ("80s", said.encode()),
        252: ("2h", SCANNER, SCANNER),
        256: ("6f", b, c, d, *matrix[:, 3]),
        280: ("12f", *matrix.ravel()),
        344: ("4s", b"n+1"),
    }
    for at, (kind, *values) in fields.items():
        struct.pack_into(f"<{kind}", made, at, *values)
    return bytes(made)


def quaternion(turn: np.ndarray) -> tuple[float, float, float]:
    """b, c, d of a rotation; a is not negative."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(turn).as_quat()
    sign = -1 if w < 0 else 1
    return sign * x, sign * y, sign * z
