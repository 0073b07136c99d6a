"""What a catalogue holds through `kill -9`, many writers and flipped bits.

python benchmarks/durability.py [--kills 100] [--writers 8] [--edits 200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.testing import durability, results


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--kills", type=int, default=100)
    given.add_argument("--writers", type=int, default=8)
    given.add_argument("--edits", type=int, default=200, help="of each writer")
    given.add_argument("--seed", type=int, default=int(time.time()))
    args = given.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "store", make=True)
        made = results.make(folder / "made")
        releases.create(store, made, "r0")
        print(f"seed {args.seed}")
        found = durability.publishing(store, made, args.kills, args.seed)
        print(f"killed while publishing: {found['kills']}; torn {found['torn']}; had ended before {found['ended_before']}; "
              f"ids of what was made again {len(found['ids'])}; left in staging {found['left']}", flush=True)  # fmt: skip
        found = durability.editing(store, args.kills, args.seed)
        print(f"killed while editing: {found['kills']}; acknowledged {found['edits']}, lost {found['lost']}", flush=True)
        found = durability.writing(store, args.writers, args.edits)
        print(f"{args.writers} writers: {found['edits']} edits, lost {found['lost']}, twice {found['twice']}; the replay is "
              f"what is served: {found['replayed']}")  # fmt: skip


if __name__ == "__main__":
    main()
