"""What the joins on tables cost a row: CPU seconds and peak memory, which records of small runs cannot show.

    python benchmarks/tables.py [--rows 1e6 4e6]

`link` joins the supervoxels of a batch (three overlaps each), `borders` what lies between batches. The figures stand
as constants in python/voxelmill/scaling.py. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from voxelmill.inference import section_linking


def link(rows: int) -> float:
    """CPU seconds to link that many supervoxels in 32 sections."""
    rng, section = np.random.default_rng(0), rows // 32
    ids = np.arange(1, rows + 1, dtype=np.uint64)
    upper = np.repeat(ids[:-section], 3)
    lower = np.minimum(upper + np.uint64(section) + rng.integers(0, 3, len(upper)).astype(np.uint64), np.uint64(rows))
    table = section_linking.Overlaps(
        np.stack([upper, lower], 1), rng.integers(100, 1000, len(upper)), rng.integers(1000, 2000, (len(upper), 2))
    )
    begun = time.process_time()
    section_linking.link(ids, table, first_ends=section + 1)
    return time.process_time() - begun


def borders(rows: int) -> float:
    """CPU seconds to join ten batches with that many supervoxels in their first sections; 70 % go on."""
    rng, batches = np.random.default_rng(0), 10
    each, made = rows // batches, []
    for k in range(batches):
        ids = np.arange(k * 10**10, k * 10**10 + each, dtype=np.uint64)
        on = (ids + np.uint64(10**10))[rng.random(each) < 0.7] if k < batches - 1 else ids[:0]
        made.append(
            section_linking.Border(
                4 * each,
                ids,
                np.sort(rng.integers(0, 4 * each, each)),
                on,
                rng.integers(0, 4 * each, len(on)),
                np.ones(len(on), np.float32),
            )
        )
    begun = time.process_time()
    section_linking.join_borders(made)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 4e6])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        seconds = {"link": link, "borders": borders}[args.case](int(args.rows[0]))
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(json.dumps([seconds, int(peak[1]) * 1024 if peak else 0]))
        return
    print(f"{'':8} {'rows':>10} {'us a row':>9} {'bytes a row':>12}")
    for case in ("link", "borders"):
        least = json.loads(one(case, 1000))[1]
        for rows in args.rows:
            seconds, peak = json.loads(one(case, int(rows)))
            print(f"{case:8} {rows:10,.0f} {1e6 * seconds / rows:9.2f} {(peak - least) / rows:12.0f}")


def one(case: str, rows: int) -> str:
    return subprocess.run(
        [sys.executable, __file__, "--case", case, "--rows", str(rows)], capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main()
