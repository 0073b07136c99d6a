"""Made movies as files, and the stages of `timelapse` in this process, one after the other.

python -m voxelmill.testing.movies movie.ome.tif --fovs 2 --frames 12 --size 256
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import plans
from .stages import run_stage
from .timelapse import PRESETS, Movie, make_movie

PIXEL_UM, INTERVAL_MIN = 0.65, 7.5


def make_fovs(fovs: int = 2, **how: Any) -> list[Movie]:
    """Movies of one seed; `how` as for `make_movie`."""
    return [make_movie(fov=fov, **how) for fov in range(fovs)]


def write_ome_tiff(
    path: Path,
    stacks: Sequence[NDArray],
    *,
    interval: float = INTERVAL_MIN,
    pixel_um: float = PIXEL_UM,
    compression: str | None = None,
) -> Path:
    """OME-TIFF with an image per field of view.

    stacks: (t, c, y, x) each, uint16. interval: minutes per frame, which the file tells in seconds.
    """
    import tifffile

    with tifffile.TiffWriter(path, ome=True) as file:
        for fov, stack in enumerate(stacks):
            n_t, n_c = stack.shape[:2]
            seconds = [t * interval * 60 for t in range(n_t) for _ in range(n_c)]
            file.write(
                stack,
                photometric="minisblack",
                compression=compression,
                metadata={
                    "axes": "TCYX",
                    "Name": f"Position {fov}",
                    "PhysicalSizeX": pixel_um,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": pixel_um,
                    "PhysicalSizeYUnit": "µm",
                    "Channel": {"Name": ["phase", "GFP", "RFP"][:n_c]},
                    "Plane": {"DeltaT": seconds, "DeltaTUnit": ["s"] * len(seconds)},
                },
            )
    return path


def spoil_page(path: Path, page: int) -> None:
    """Overwrite what one page of a compressed TIFF holds, so that it cannot be read."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        held: Any = file.pages[page]
        at, size = held.dataoffsets[0], held.databytecounts[0]
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xff" * size)


def stack_of(movie: Movie) -> NDArray[np.uint16]:
    """(t, c, y, x): phase contrast, then fluorescence."""
    return np.concatenate([movie.phase[None], movie.fluorescence]).transpose(1, 0, 2, 3)


def write_movies(path: Path, movies: Sequence[Movie]) -> Path:
    """Made movies as one OME-TIFF, its truth beside it: `{name}.labels.npz` with `labels` (fov, t, y, x)."""
    write_ome_tiff(path, [stack_of(movie) for movie in movies])
    base = path.name.split(".")[0]
    np.savez_compressed(path.with_name(f"{base}.labels.npz"), labels=np.stack([m.labels for m in movies]))
    return path


STEPS = (
    "inspect_movie",
    "copy_movie",
    "segment_cells",
    "track_cells",
    "estimate_background",
    "crop_cells",
    "extract_traces",
    "export_tracks",
    "publish_fovs",
)


def run_timelapse(
    folder: Path,
    source: Path,
    *,
    upto: str = "publish_fovs",
    plugins: Path | None = None,
    detections: Path | None = None,
    **params: Any,
) -> int:
    """The stages up to `upto` on the first batch, in this process, in `folder`; the first exit code that is not 0.

    detections: labels to track; nothing is segmented then. params: by name, for whichever stages take them.
    """
    from ..core.params import fields_of
    from ..core.stage import Stage

    facts, folder = folder / "movie.json", folder.resolve()
    given = {
        "movie": folder / "movie",
        "labels": folder / "labels",
        "tracked": folder / "tracked",
        "background": folder / "background",
    }
    for step in STEPS[: STEPS.index(upto) + 1]:
        if step == "estimate_background" and not params.get("fl_channels"):
            continue
        step = "read_detections" if step == "segment_cells" and detections else step
        stage = Stage(f"{LAYER[step]}.{step}")
        known = set(fields_of(stage.parameters))
        flags = {k: v for k, v in params.items() if k in known}
        if step == "inspect_movie":
            files: dict[str, Any] = {"source": source, "facts": facts, "batch_list": folder / "batches.csv"}
        else:
            first = plans.read(folder / "batches.csv")[0]["block"]
            files = {
                "facts": facts,
                "batch": first,
                "source": detections if step == "read_detections" else source,
                "plugins": plugins,
                **given,
                "stores": [folder / n for n in ("movie", "labels", "tracked", "background", "cells", "traces")],
                "output": folder / OUTPUT[step],
            }
        taken = {k: v for k, v in files.items() if k in stage.files and v is not None and (k != "background" or v.exists())}
        if "stores" in taken:
            taken["stores"] = [p for p in taken["stores"] if p.exists()]
        if code := run_stage(f"{LAYER[step]}.{step}", folder, **taken, **flags):
            return code
    return 0


LAYER = {
    "inspect_movie": "ingest",
    "copy_movie": "ingest",
    "read_detections": "ingest",
    "segment_cells": "inference",
    "track_cells": "inference",
    "estimate_background": "transform",
    "crop_cells": "postprocess",
    "extract_traces": "postprocess",
    "export_tracks": "serving",
    "publish_fovs": "serving",
}
OUTPUT = {
    "copy_movie": "movie",
    "segment_cells": "labels",
    "read_detections": "labels",
    "track_cells": "tracked",
    "estimate_background": "background",
    "crop_cells": "cells",
    "extract_traces": "traces",
    "export_tracks": "tracks",
    "publish_fovs": "published",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--preset", choices=list(PRESETS), default="sparse")
    for name, default in (("fovs", 2), ("frames", 12), ("size", 256), ("channels", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    path, fovs = given.pop("path"), given.pop("fovs")
    write_movies(path, make_fovs(fovs, **given))
    print(f"wrote {path} and its labels")


if __name__ == "__main__":
    main()
