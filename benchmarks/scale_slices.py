"""Lines of the scale model of `reconstruct` (`voxelmill scale --workflow reconstruct`), from runs of different sizes.

    python benchmarks/scale_slices.py OUTDIR... [--coarse RECORD RECORD]      writes python/voxelmill/scaling_slices.json

OUTDIR: results of runs on made acquisitions of 10 um, at --resolution 10. --coarse: the record of `prepare_slice` on one grid
at --resolution 10, and another at 20 on the same grid: what reading and reducing a raw voxel costs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from voxelmill import scaling_slices


def of_raw(fine: Path, coarse: Path, slope: float) -> float:
    """CPU s a raw Mvoxel: what is left at half the resolution, an eighth of the voxels, beyond the cost of those."""
    records = [json.loads(path.read_text()) for path in (fine, coarse)]
    raw = records[0]["bytes_in"] / 4e6  # float32; compressed grids have fewer bytes, so that this is on the cautious side
    lines = [r["cpu_s"] for r in records]
    return max(0.0, (lines[1] - slope * raw / 8) / raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdirs", type=Path, nargs="+")
    parser.add_argument("--coarse", type=Path, nargs=2)
    given = parser.parse_args()
    stages = scaling_slices.calibrate(given.outdirs)
    if given.coarse:
        stages["prepare_slice"].raw_s = of_raw(*given.coarse, stages["prepare_slice"].cpu_s.slope)
    scaling_slices.save(stages)
    for name, s in stages.items():
        cpu = f"{s.cpu_s.fixed:6.2f} s + {s.cpu_s.slope:.3f} s/Mvoxel (raw {s.raw_s:.4f})"
        memory = f"{s.memory.fixed / 1e6:4.0f} MB + {s.memory.slope / 1e6:.0f} MB/Mpx"
        print(f"{name:22} {cpu}; {memory}; {s.bytes_out.slope / 1e6:.2f} B/voxel")


if __name__ == "__main__":
    main()
