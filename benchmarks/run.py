"""All benchmarks that need no data from outside, one after the other: `make bench` or `python benchmarks/run.py [NAME ...]`.

Peers (pystackreg, trackpy, laptrack) are taken along where they are installed. Run it alone on the machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALL = {
    "connectome_seed": ["demo"],
    "stages": [],
    "alignment": [],
    "mosaic": [],
    "timelapse_segmentation": [],
    "timelapse_tracking": [],
    "timelapse_traces": [],
    "overhead": ["--run"],
    "scaling": [],
    "tables": [],
    "catalogue": [],
}


def main() -> int:
    wanted = sys.argv[1:] or list(ALL)
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py"), *ALL[name]]).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
