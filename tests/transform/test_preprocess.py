"""Preprocess: uint8 out, the same bytes for any block, 16-bit mapped by the volume's range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store, run_stage
from voxelmill.transform.preprocess import grey_window


def test_blocks_agree_and_scale_stays(tmp_path: Path):
    raw, _ = neurites((8, 96, 128))
    store, facts = make_store(tmp_path / "in.ome.zarr", raw), make_facts(tmp_path / "facts.json", 8)
    parts = {}
    for name, block in (("whole", "0-7"), ("a", "0-2"), ("b", "3-7")):
        assert (
            run_stage("transform.preprocess", tmp_path / name, volume=store, facts=facts, block=block, output="out.ome.zarr")
            == 0
        )
        parts[name] = {
            p.name + str(p.relative_to(tmp_path / name)): p.read_bytes()
            for p in (tmp_path / name).glob("out.ome.zarr/0/c/*/*/*")
        }
    assert parts["whole"] == parts["a"] | parts["b"]
    image = open_image(tmp_path / "whole/out.ome.zarr")
    assert image.dtype == np.uint8 and image.scale == (30.0, 8.0, 8.0)


def test_contrast_is_local(tmp_path: Path):
    """A dark half and a bright half of the same pattern come out alike."""
    rng = np.random.default_rng(0)
    pattern = rng.integers(0, 60, (4, 128, 64))
    raw = np.concatenate([pattern, pattern + 150], 2).astype(np.uint8)
    store, facts = make_store(tmp_path / "in.ome.zarr", raw), make_facts(tmp_path / "facts.json", 4)
    assert (
        run_stage(
            "transform.preprocess",
            tmp_path,
            volume=store,
            facts=facts,
            block="0-3",
            output="out.ome.zarr",
            clahe_tile=32,
            clahe_clip=0.1,
        )
        == 0
    )
    out = open_image(tmp_path / "out.ome.zarr").read().astype(float)
    assert abs(out[..., :32].mean() - out[..., 96:].mean()) < 25 < 150


def test_sixteen_bit_is_mapped_by_the_range_of_the_volume(tmp_path: Path):
    raw, _ = neurites((4, 64, 64))
    wide = raw.astype(np.uint16) * 100 + 1000
    narrow = raw.astype(np.uint16)  # grey levels of 8 bits in a type of 16
    spans = ("u8", raw, (0, 255)), ("u16", wide, (1000, 26500)), ("n16", narrow, (int(raw.min()), int(raw.max())))
    for name, values, span in spans:
        store = make_store(tmp_path / f"{name}.ome.zarr", values)
        facts = make_facts(tmp_path / f"{name}.json", 4, span)
        assert (
            run_stage("transform.preprocess", tmp_path / name, volume=store, facts=facts, block="0-0", output="out.ome.zarr")
            == 0
        )
    a, b, c = (open_image(tmp_path / n / "out.ome.zarr").read() for n in ("u8", "u16", "n16"))
    assert np.array_equal(a, b) and np.array_equal(a, c) and raw.max() < 255


def test_eight_bits_give_the_same_bytes_in_any_type(tmp_path: Path):
    raw, _ = neurites((4, 64, 64))
    raw = np.maximum(raw, 3)
    wide, bare = raw.astype(np.uint16), raw.astype(np.float32)
    variants = {
        "u8": raw,
        "k": wide,
        "256 k": wide * 256,
        "257 k": wide * 257,
        "k.": bare,
        "k / 255": bare / 255,
        "k / max": bare / bare.max(),
        "double": raw / 255.0,
        "i4": raw.astype(np.int32) * 1000,
    }
    found = {}
    for name, values in variants.items():
        folder = tmp_path / name.replace("/", "by")
        folder.mkdir()
        np.save(folder / "in.npy", values)
        lists = {
            "block_list": "b.csv",
            "slab_list": "s.csv",
            "superblock_list": "u.csv",
            "plan": "p.json",
            "read_list": "r.csv",
        }
        given = {"input": "in.npy", "output": "raw.ome.zarr", "facts": "facts.json", "voxel_size": "8,8,8", **lists}
        assert run_stage("ingest.ingest", folder, **given, rescale=values.dtype not in (np.uint8, np.uint16)) == 0
        given = {"volume": folder / "raw.ome.zarr", "facts": folder / "facts.json", "block": "0-0", "output": "out.ome.zarr"}
        assert run_stage("transform.preprocess", folder, **given) == 0
        found[name] = open_image(folder / "out.ome.zarr").read()
    assert [name for name, values in found.items() if not np.array_equal(values, found["u8"])] == []


@pytest.mark.parametrize(
    ("step", "high", "window"),
    [
        (1, 200, (0, 255)),
        (514, 257 * 254, (0, 65535)),  # even levels of 8 bits
        (512, 256 * 254, (0, 65280)),
        (60000, 60000, (7, 50000)),  # a mask
        (256, 256, (7, 50000)),
        (257, 257 * 20, (7, 50000)),
        (64, 64 * 200, (7, 50000)),  # 10 bits
        (0, 0, (0, 255)),
    ],
)
def test_the_window_of_grey_values_by_their_steps(step, high, window):
    facts = {"grey_step": step, "value_range": [0, high], "window": [7, 50000]}
    assert tuple(grey_window(facts, "uint16")) == window


def test_bright_membranes_become_dark(tmp_path: Path):
    raw, _ = neurites((4, 64, 64))
    found = []
    for name, values, membranes in (("dark", raw, "dark"), ("bright", 255 - raw, "bright")):
        given = {"volume": make_store(tmp_path / f"{name}.ome.zarr", values), "facts": make_facts(tmp_path / "facts.json", 4)}
        out = {"block": "0-0", "output": "out.ome.zarr", "membranes": membranes}
        assert run_stage("transform.preprocess", tmp_path / name, **given, **out) == 0
        found.append(open_image(tmp_path / name / "out.ome.zarr").read().astype(int))
    assert np.abs(found[0] - found[1]).mean() < 8  # equalised from the other end


def test_a_missing_shard_is_an_error_and_not_zeros(tmp_path: Path, capsys):
    raw, _ = neurites((8, 64, 64))
    store, facts = make_store(tmp_path / "in.ome.zarr", raw), make_facts(tmp_path / "facts.json", 8)
    (store / "0/c/1/0/0").unlink()
    assert run_stage("transform.preprocess", tmp_path, volume=store, facts=facts, block="0-1", output="out.ome.zarr") == 65
    assert "0/c/1/0/0: missing, though the manifest lists it" in capsys.readouterr().err
    assert not (tmp_path / "out.ome.zarr").exists()
