"""Small arrays: any Zarr library reads them, missing chunks as 0; a flipped bit is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from voxelmill.core.volume import open_array
from voxelmill.timelapse.small import SmallArray


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool", "int32"])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_every_library_reads_it(tmp_path: Path, dtype: str, codec: str):
    values = np.random.default_rng(0).integers(0, 90, (10, 5, 7)).astype(dtype)
    array = SmallArray(tmp_path / "a", values.shape, dtype, 4, "tyx", codec)
    for n in (2, 0):
        array.write(n, values[4 * n : 4 * n + 4])
    array.close()
    values[4:8] = 0
    for read in (
        zarr.open_array(str(tmp_path / "a"), mode="r")[...],
        open_array(tmp_path / "a", sparse=True).read().result(),
    ):
        assert read.dtype == values.dtype and np.array_equal(read, values)


def test_nothing_written_reads_as_zero(tmp_path: Path):
    for shape in ((3, 2, 2), (0, 4)):
        SmallArray(tmp_path / str(len(shape)), shape, "uint16", 3, "tyx"[: len(shape)]).close()
        found = zarr.open_array(str(tmp_path / str(len(shape))), mode="r")
        assert found.shape == shape and not found[...].any()


@pytest.mark.parametrize("at", [3, -3])
def test_a_flipped_bit_is_an_error(tmp_path: Path, at: int):
    """In a chunk, and in the index."""
    array = SmallArray(tmp_path / "a", (4, 5, 5), "uint16", 2, "tyx")
    for n in (0, 1):
        array.write(n, np.full((2, 5, 5), 1000 + n, np.uint16))
    array.close()
    data = bytearray(array.shard.read_bytes())
    data[at] ^= 4
    array.shard.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(str(tmp_path / "a"), mode="r")[...]
