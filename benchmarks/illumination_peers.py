"""BaSiCPy on the tiles of a mosaic grid, run by the Python that has it (`benchmarks/reconstruct.py --peers`).

    illumination_peers.py planes|mean TILES.npy      array (tiles, z, y, x); prints {"flat": FILE.npy, "cpu_s": ...}

planes: a field for each plane, as slices are usually lit (linumpy's stage is this); mean: one field, from the means over
depth. Imports are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    try:
        from basicpy import BaSiC
    except ImportError as error:
        sys.exit(f"absent ({error})")

    way, file = sys.argv[1], Path(sys.argv[2])
    tiles = np.load(file)
    start = time.process_time()
    stacks = tiles.swapaxes(0, 1) if way == "planes" else [tiles.mean(1)]
    fields = []
    for stack in stacks:
        found = BaSiC(get_darkfield=False)
        found.fit(stack)
        fields.append(np.asarray(found.flatfield))
    used = time.process_time() - start
    out = file.with_name(f"{way}.npy")
    np.save(out, np.stack(fields))
    print(json.dumps({"flat": str(out), "cpu_s": used}))


if __name__ == "__main__":
    main()
