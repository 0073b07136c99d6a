"""OME-Zarr movies whose content is known: axes, times, scales, collections; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.ingest.movies.formats import open_movie

from .test_czi_nd2 import volume


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "tcyx", "tyx"])
def test_ome_zarr_axes_times_and_scale(tmp_path, version, axes):
    import zarr

    shape = dict(zip("tczyx", (3, 2, 1, 20, 24)))
    data = volume(*(shape[a] for a in axes))
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3 if version == "0.5" else 2)
    root.create_array("0", data=data)
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    scale = {"t": 300.0, "c": 1.0, "z": 1.0, "y": 0.65, "x": 0.65}
    multiscales = [
        {
            "axes": [{"name": a} | ({"unit": units[a]} if a in units else {}) for a in axes],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [scale[a] for a in axes]},
                        {"type": "translation", "translation": [{"y": -13.0, "x": 6.5}.get(a, 0.0) for a in axes]},
                    ],
                }
            ],
        }
    ]
    omero = {"channels": [{"label": "Phase"}, {"label": "GFP"}]}
    metadata = {"multiscales": multiscales, "omero": omero}
    root.attrs.update({"ome": {"version": "0.5"} | metadata} if version == "0.5" else metadata)
    with open_movie(tmp_path / "a.zarr") as movie:
        assert movie.fovs[0].times == pytest.approx([0, 5, 10])
        assert movie.pixel_size_um == pytest.approx(0.65)
        assert movie.describe()["fovs"][0]["origin_um"] == pytest.approx([-13, 6.5])
        n_c = 2 if "c" in axes else 1
        assert movie.channel_names == ("Phase", "GFP")[:n_c]
        full = data.reshape(3, n_c, 20, 24)
        for t, c in np.ndindex(3, n_c):
            assert np.array_equal(movie.read_frame(0, t, c), full[t, c])


def test_ome_zarr_collection_is_fields_of_view(tmp_path):
    import zarr

    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for i in (0, 1, 10, 2):
        group = root.create_group(str(i))
        group.create_array("0", data=np.full((1, 8, 8), i + 1, np.uint16))
        axes = list("tyx")
        group.attrs["ome"] = {"version": "0.3", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    with open_movie(tmp_path / "a.zarr") as movie:
        assert [movie.read_frame(f, 0, 0)[0, 0] for f in range(4)] == [1, 2, 3, 11]


def test_an_image_that_the_series_of_a_collection_list_is_no_other(tmp_path):
    """Image 1 was not copied: field of view 1 is without frames, as a plate's, and image 2 stays field of view 2."""
    import zarr

    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for i in (0, 2):
        group = root.create_group(str(i))
        group.create_array("0", data=np.full((1, 8, 8), i + 1, np.uint16))
        axes = list("tyx")
        group.attrs["ome"] = {"version": "0.3", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    root.create_group("OME").attrs["ome"] = {"version": "0.5", "series": ["0", "1", "2"]}
    with open_movie(tmp_path / "a.zarr") as movie:
        assert [(f.name, f.n_frames) for f in movie.fovs] == [("0", 1), ("1", 0), ("2", 1)]
        assert movie.read_frame(2, 0, 0)[0, 0] == 3
        assert "Without a single frame: field of view 1 (image 1)." in movie.notes


@pytest.mark.parametrize(
    ("axes", "message"), [(("tyx", "tcyx"), "process them apart"), (("tyxc",), "has axes 'TYXC'"), (("tyx/",), "'TYX' for")]
)
def test_ome_zarr_images_that_make_no_movie_are_refused(tmp_path, axes, message):
    import zarr

    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for i, names in enumerate(axes):
        group = root.create_group(str(i))
        group.create_array("0", data=np.ones([2 if a == "c" else 8 for a in names], np.uint16))  # "/": one more axis
        group.attrs["ome"] = {
            "version": "0.3",
            "multiscales": [{"axes": list(names.strip("/")), "datasets": [{"path": "0"}]}],
        }
    with pytest.raises(DataError, match=message), open_movie(tmp_path / "a.zarr") as movie:
        movie.choose(range(len(movie.fovs)))


def test_a_folder_without_ome_metadata_is_refused(tmp_path):
    import zarr

    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    with pytest.raises(DataError, match="no OME multiscales"):
        open_movie(tmp_path / "empty.zarr")
    with pytest.raises(DataError, match="not an OME-Zarr group"):
        open_movie(tmp_path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_is_cut_off_is_not_read_on_behind_its_end(tmp_path, version):
    """As Blosc does: of what lay there it made pixels, or the process died."""
    import numcodecs
    import zarr

    place, rng = tmp_path / "a.zarr", np.random.default_rng(0)
    data = rng.integers(0, 4000, (2, 256, 256)).astype(np.uint16)
    form = 3 if version == "0.5" else 2
    root = zarr.open_group(str(place), mode="w", zarr_format=form)
    codec = zarr.codecs.BloscCodec(cname="zstd") if form == 3 else numcodecs.Blosc("zstd")
    root.create_array("0", data=data, chunks=(1, 256, 256), compressors=codec)
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    multiscales = [{"axes": [{"name": a} for a in "tyx"], "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    root.attrs.update({"ome": {"version": "0.5", "multiscales": multiscales}} if form == 3 else {"multiscales": multiscales})
    chunk = place / ("0/c/1/0/0" if form == 3 else "0/1.0.0")
    chunk.write_bytes(chunk.read_bytes()[:-9000])
    with open_movie(place) as movie:
        assert np.array_equal(movie.read_frame(0, 0, 0), data[0])
        with pytest.raises(DataError, match="a chunk is cut off"):
            movie.read_frame(0, 1, 0)
