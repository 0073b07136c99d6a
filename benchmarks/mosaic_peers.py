"""ASHLAR or m2stitch on a folder of tiles, run by the Python that has them (`benchmarks/mosaic.py --peers`).

    mosaic_peers.py ashlar|m2stitch FOLDER TABLE     prints {"positions": [[y, x], ...], "cpu_s": ..., "peak_mb": ...}

CPU seconds count from the first tile that is read to the positions; imports are not counted, nor is writing a mosaic.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import tifffile


def listed(folder: Path, table: Path) -> tuple[list[Path], np.ndarray]:
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    return [folder / row["tile"] for row in rows], np.array([(float(row["y"]), float(row["x"])) for row in rows])


def ashlar(files: list[Path], nominal: np.ndarray) -> np.ndarray:
    from ashlar import reg

    first = tifffile.imread(files[0])

    class Metadata(reg.Metadata):
        num_channels, pixel_size, pixel_dtype, _num_images = 1, 1.0, first.dtype, len(files)

        def tile_position(self, i):
            return nominal[i]

        def tile_size(self, i):
            return np.array(first.shape)

    class Reader(reg.Reader):
        metadata = Metadata()

        def read(self, series, c):
            return tifffile.imread(files[series])

    aligner = reg.EdgeAligner(Reader(), max_shift=30, do_make_thumbnail=False)
    aligner.run()
    return np.array(aligner.positions)


def m2stitch(files: list[Path], nominal: np.ndarray) -> np.ndarray:
    import m2stitch as peer

    rows, columns = (np.unique(np.rint(nominal[:, k]), return_inverse=True)[1] for k in (0, 1))
    images = np.stack([tifffile.imread(file) for file in files])
    found, _ = peer.stitch_images(images, rows.tolist(), columns.tolist(), row_col_transpose=False)
    return found[["y_pos", "x_pos"]].to_numpy(float)


def main() -> None:
    peer, folder, table = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    files, nominal = listed(folder, table)
    try:
        __import__("ashlar.reg" if peer == "ashlar" else "m2stitch")
    except ImportError as error:
        sys.exit(f"absent ({error})")
    start = time.process_time()
    positions = {"ashlar": ashlar, "m2stitch": m2stitch}[peer](files, nominal)
    used = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"positions": positions.tolist(), "cpu_s": used, "peak_mb": peak}))


if __name__ == "__main__":
    main()
