"""Export labels: supervoxels through the merge table into a flat label volume."""

from __future__ import annotations

from ..core import blocks
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Layout, create_image, open_image
from ..inference import stitching


class Parameters(Params):
    """Exporting has nothing to choose."""


def run(p: Parameters, task: Task, *, supervoxels: In, segments: In, block: str, output: Out) -> None:
    import pyarrow.parquet as pq

    task.block = block
    source = open_image(supervoxels)
    lay = source.layout()
    blocks.require(lay, supervoxels / "0")
    columns = pq.read_table(segments)
    table = stitching.MergeTable(*(columns[n].to_numpy() for n in ("supervoxel", "segment", "score")))
    dtype = "uint32" if table.segment.max(initial=0) < 2**32 else "uint64"
    target = create_image(output, Layout(lay.shape, dtype, lay.chunk, lay.shard), source.scale, label=True)
    for region in task.progress(list(blocks.regions(lay, block)), "shards labelled"):
        target.write(region, stitching.remap(source.read(region), table).astype(dtype))
