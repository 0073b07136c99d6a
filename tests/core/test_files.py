"""Files below a folder, links followed."""

from __future__ import annotations

from pathlib import Path

from voxelmill.core.files import below


def test_links_are_followed_and_loops_end(tmp_path: Path):
    (tmp_path / "else/deep").mkdir(parents=True)
    (tmp_path / "else/deep/1.tif").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "0.tif").touch()
    (root / "sections").symlink_to(tmp_path / "else")
    (tmp_path / "else/back").symlink_to(root)  # a loop over two folders
    (root / "self").symlink_to(".")
    (root / "nowhere").symlink_to("gone")
    (root / "2.tif").symlink_to(root / "0.tif")
    assert below(root) == ["0.tif", "2.tif", "sections/deep/1.tif"]
    (tmp_path / "link").symlink_to(root)
    assert below(tmp_path / "link") == below(root)


def test_everything_that_lists_files_sees_linked_ones(tmp_path: Path):
    """Digest, listing and size of a folder, and a movie in a folder of linked folders."""
    import numpy as np
    import tifffile
    from voxelmill.core import manifest, provenance
    from voxelmill.ingest.movies.folder import FolderMovie
    from voxelmill.ingest.volumes.listing import Listing

    (tmp_path / "far").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/pos0").symlink_to(tmp_path / "far")
    for t in range(3):
        tifffile.imwrite(tmp_path / f"far/img_{t:09d}_PC_000.tif", np.full((16, 16), t, np.uint16))
    assert len(manifest.make(tmp_path / "root")["files"]) == len(Listing.of(tmp_path / "root").files) == 3
    assert provenance._size(tmp_path / "root") > 3 * 512
    assert FolderMovie(tmp_path / "root").fovs[0].n_frames == 3


def test_a_backslash_in_a_path_is_no_slash(tmp_path: Path):
    """TensorStore takes it for one; a volume, and what any of its formats opens by keys."""
    import numpy as np
    from voxelmill.core.volume import open_image
    from voxelmill.ingest.volumes.kvstore import KvStore
    from voxelmill.testing.stages import make_store

    made = make_store(tmp_path / "plain.ome.zarr", np.arange(64, dtype=np.uint8).reshape(1, 8, 8))
    folder = tmp_path / "a\\b"
    folder.mkdir()
    there = made.rename(folder / "c\\d.ome.zarr")
    assert open_image(there).read().ravel().tolist() == list(range(64))
    assert "zarr.json" in KvStore.of(there, "it").entries()
