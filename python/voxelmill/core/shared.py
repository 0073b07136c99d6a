"""Parameters that several stages share, each written down once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .orientation import PATTERN
from .params import Params, param

Positive = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
MOST_LEVELS = 12


class Seeded(Params):
    """Randomness."""

    seed: int = param(7, "Seed of everything random", ge=0)


class Given(Params):
    """What is read."""

    input: str = param("", "What to read: path or URI (bossdb://..., precomputed://...)", path=True)


class Channel(Params):
    """Which channel is read."""

    channel: int = param(0, "Channel of an image that has several", ge=0)


class Storage(Params):
    """How volumes lie on disk between stages."""

    chunk: tuple[Positive, Positive, Positive] = param(
        (32, 128, 128), "Chunk Z,Y,X: what a reader fetches at least", unit="voxel"
    )
    shard: tuple[Positive, Positive, Positive] = param(
        (32, 1024, 1024),
        "Shard Z,Y,X: one file, and the least that a task works on",
        unit="voxel",
        more="A multiple of --chunk. Memory per task grows with it.",
    )


class Tasks(Params):
    """How a volume is divided among tasks."""

    blocks: int = param(0, "Number of tasks a volume is divided into; 0: by --block_voxels", ge=0)
    block_voxels: float = param(
        32e6,
        "Voxels per task when --blocks is 0; up to 16 times as many beyond 256 tasks",
        unit="voxel",
        gt=0,
        profiles={"aggressive": 128e6},
    )


class Format(Params):
    """How volumes are written at the end."""

    ome_zarr_version: Literal["0.5", "0.4", "0.6"] = param(
        "0.5", "OME-Zarr version of the published volumes; 0.4 (Zarr v2) for older tools, 0.6 with named coordinate systems"
    )


class Released(Format):
    """Levels of volumes that are written at the end."""

    max_levels: int = param(6, "Most pyramid levels of a published volume; 1: none", ge=1, le=MOST_LEVELS)


class Device(Params):
    """Hardware."""

    use_gpu: bool = param(True, "Use a GPU where CuPy finds one; else the CPU")


class Strict(Params):
    """What happens to doubtful data."""

    strict: bool = param(False, "End with an error where data would be left out or bridged", profiles={"conservative": True})


class Grid(Params):
    """Physical size of the data."""

    voxel_size: tuple[Length, Length, Length] | None = param(
        None, "Voxel size Z,Y,X; needed where the source does not state it, else it overrides", unit="nm"
    )


class Resolution(Params):
    """Voxel size that work is done at."""

    resolution: float = param(
        10.0, "Voxel size of slices, along all axes; -1: as it comes", unit="µm", ge=-1, defaults={"mosaic": -1.0}
    )


class Sectioning(Params):
    """How the block is cut."""

    registration_slicing_interval_mm: float = param(0.2, "Thickness of what is cut away between two slices", unit="mm", gt=0)


class Oriented(Params):
    """How the brain lies in the block."""

    ras_input_orientation: str = param(
        "",
        "Where dim 0 (stack), dim 1 (stage x), dim 2 (stage y) of the slices point to: PIR is posterior, inferior, right",
        more="Letters: R or L, A or P, S or I. Coronal from the front: PIR, from behind: AIR; sagittal from the left: RIA, "
        "from the right: LIA; axial from above: IPR, from below: SPR.",
        pattern=PATTERN,
    )


class Precision(Params):
    """What the aligned volume is stored as, and what is kept."""

    aligned_dtype: Literal["float32", "float16"] = param(
        "float32", "Data type of the aligned volume; float16 halves it", profiles={"minimal": "float16"}
    )
    save_minimal: bool = param(
        False,
        "Publish only the aligned volume, labels, tables and figures: no raw volume, no pyramid levels",
        profiles={"minimal": True},
    )


class Kept(Params):
    """What is published beside the volume of a subject."""

    publish_intermediates: bool = param(False, "Publish what stages leave to each other, too")
    zip_volume: bool = param(True, "Publish the subject's volume as one file, too (a zip)")
    nifti: bool = param(False, "Publish the subject's volumes as NIfTI, too")


class Extensions(Params):
    """Code of the user's own."""

    plugins: str = param("", "Folder with plug-ins: features, preprocessors, methods; only code that you trust", path=True)
