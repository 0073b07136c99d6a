"""What a release of a petabyte needs, from what small ones were measured to need: files, bytes, hours, index, requests.

    python benchmarks/petabyte.py [--bytes 1e15] [--compression 2] [--synapses 1e9] [--supervoxels 1e10]

All scales with files, bytes, synapses or supervoxels; nothing here is measured at a petabyte.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields
from pathlib import Path

import catalogue
import numpy as np
from voxelmill.catalog import archive, index
from voxelmill.catalog.store import Store
from voxelmill.core.shared import Storage
from voxelmill.core.volume import layout
from voxelmill.testing import served

PYRAMID = 8 / 7  # levels of a half along each axis


def index_bytes(store: Store) -> tuple[float, float]:
    """Of a query index: bytes a synapse, its share of edges and neurites among them, and bytes a supervoxel."""
    folder = index.folder_of(store, "r1")
    size = {f.name: (folder / f"{f.name}.npy").stat().st_size for f in fields(index.Index)}
    of = {"supervoxels", "supervoxel_root", "members"}
    made = index.load(store, "r1")
    rest = sum(n for name, n in size.items() if name not in of)
    return rest / len(made.synapse_id), sum(made.supervoxels.dtype.itemsize for _ in of)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--bytes", type=float, default=1e15, help="of the image, one byte a voxel")
    given.add_argument("--compression", type=float, default=2.0, help="of the image on disk")
    given.add_argument("--synapses", type=float, default=1e9)
    given.add_argument("--supervoxels", type=float, default=1e10)
    args = given.parse_args()
    side = round(args.bytes ** (1 / 3))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, edges = catalogue.graph(folder, 1_000_000)
        manifest = (store.release("r1") / "manifest.json").stat().st_size
        per_file = manifest / len(catalogue.releases.manifest_of(store, "r1")["files"])
        per_synapse, per_supervoxel = index_bytes(store)
        source = folder / "large"
        source.write_bytes(np.random.default_rng(1).bytes(256 << 20))
        held = Store(folder / "held", make=True)
        archive.add(held, [source])
        _, cpu = catalogue.timed(lambda: archive.verify(held))
        scrub = source.stat().st_size / cpu
        made = Storage()
        chosen = layout((side, side, side), np.uint8, made.shard, made.chunk)
        shard = float(np.prod(chosen.shard))
        with served.serving(store.root) as server:
            roots = edges[np.random.default_rng(2).integers(0, len(edges), 400), 0].tolist()
            asked = {
                "partners": [f"/api/releases/r1/neurites/{root}/partners" for root in roots],
                "chunk": ["/data/r1/volumes/supervoxels.ome.zarr/0/c/0/0/0"],
            }
            for paths in asked.values():
                server.load(paths, 1, 50)
            spent = {}
            for kind, paths in asked.items():
                before = server.cpu()
                spent[kind] = server.load(paths, 4, 500).size and (server.cpu() - before) / 2000
    files = args.bytes / shard * PYRAMID
    stored = args.bytes * PYRAMID / args.compression
    print(f"image {side}^3 voxels, {args.bytes:.0e} bytes; shards {chosen.shard}, chunks {chosen.chunk}")
    print(f"files: {files:.3g} of {stored / files / 1e6:.0f} MB; stored {stored / 1e12:.0f} TB")
    print(f"manifest: {files * per_file / 1e9:.2f} GB ({per_file:.0f} bytes a file)")
    print(f"scrub, or making a release: {stored / scrub / 3600:.0f} core hours ({scrub / 1e9:.2f} GB a CPU second)")
    print(f"query index: {(args.synapses * per_synapse + args.supervoxels * per_supervoxel) / 1e9:.0f} GB "
          f"({per_synapse:.0f} bytes a synapse, {per_supervoxel:.0f} a supervoxel), mapped, not read")  # fmt: skip
    for kind, seconds in spent.items():
        print(f"{kind}: {1e3 * seconds:.2f} ms of CPU a request, {1 / seconds:.0f} requests/s a core")


if __name__ == "__main__":
    main()
