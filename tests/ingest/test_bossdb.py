"""BossDB: intern against a server on the loopback that speaks its part of the Boss API."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError, TransientError
from voxelmill.ingest.volumes import bossdb
from voxelmill.ingest.volumes.formats import open_source
from voxelmill.testing.boss import BossServer

pytest.importorskip("intern")
EM = np.random.default_rng(2).integers(0, 256, (70, 40, 600), np.uint8)
ALL = (slice(None),) * 3


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """`with serve(volume, ...) as boss`: a server that intern is pointed to; waits are short."""
    monkeypatch.setattr(bossdb, "WAIT_S", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.intern/intern.cfg of whoever runs the test

    def server(*args, **more):
        boss = BossServer(*args, **more)
        for name, value in boss.environment.items():
            monkeypatch.setenv(name, value)
        return boss

    return server


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64"])
def test_shape_type_and_voxel_size_come_from_the_service(serve, dtype):
    volume = EM[:9].astype(dtype) * (1 if dtype == "uint8" else 257)
    with serve(volume, voxel_size=(0.03, 0.004, 0.005), unit="micrometers") as boss:
        source = open_source(boss.uri)
        assert (source.shape, source.dtype) == ((9, 40, 600), dtype)
        assert source.voxel_size == pytest.approx((30, 4, 5))
        np.testing.assert_array_equal(source.read(ALL), volume)


def test_cutouts_across_block_borders_are_right_and_follow_the_blocks(serve):
    with serve(EM, start=(10, 500, 20)) as boss:  # a frame that does not begin at 0
        source = open_source(boss.uri)
        part = (slice(5, 61), slice(3, 30), slice(400, 600))
        np.testing.assert_array_equal(source.read(part), EM[part])
        assert len(boss.cutouts) == len(set(boss.cutouts)) == 3 * 2 * 2
        assert boss.cutouts[0] == "420:512/503:512/15:32"
        for one in ((5, 3, 400), (0, 0, 0), (69, 39, 599)):
            region = tuple(slice(v, v + 1) for v in one)
            assert source.read(region).shape == (1, 1, 1) and source.read(region)[0, 0, 0] == EM[one]
        row = (slice(3, 4), slice(2, 3), slice(0, 50))
        np.testing.assert_array_equal(source.read(row), EM[row])


def test_pieces_divide_at_multiples():
    assert list(bossdb._pieces(5, 20, 8)) == [(5, 8), (8, 16), (16, 20)]
    assert list(bossdb._pieces(8, 16, 8)) == [(8, 16)]
    assert list(bossdb._pieces(7, 9, 8)) == [(7, 8), (8, 9)]


def test_a_fault_that_passes_is_asked_again(serve, capfd):
    with serve(EM[:9], faults=[500, 503, "cut", "ok"]) as boss:
        np.testing.assert_array_equal(open_source(boss.uri).read((slice(None), slice(None), slice(0, 9))), EM[:9, :, :9])
        assert len(boss.cutouts) == 4
    said = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[-1] for line in said] == [f"try {n} of 4 failed" for n in (1, 2, 3)]


@pytest.mark.parametrize("fault", [500, 503, 429])
def test_a_service_that_stays_busy_is_a_passing_fault(serve, ingest, fault):
    with serve(EM[:9], faults=[fault], forever=True) as boss:
        ingest("--input", boss.uri, "--cutout=8,8,4").refused(75, boss.uri, f"answers {fault}", "-resume")
        assert len(boss.cutouts) == bossdb.TRIES


@pytest.mark.parametrize("fault", ["cut", "short"])
def test_a_body_that_is_cut_off_is_refused(serve, ingest, fault):
    with serve(EM[:9], faults=["ok", fault], forever=True) as boss:
        done = ingest("--input", boss.uri, "--cutout=590,30,8", "--center=300,20,4")
        done.refused(65, boss.uri, "damaged reply", "it was cut off")
        assert len(boss.cutouts) == 1 + bossdb.TRIES


def test_a_body_that_is_no_blosc_or_no_json_is_refused(serve, monkeypatch):
    with serve(EM[:9]) as boss:
        source = open_source(boss.uri)
        monkeypatch.setattr(boss, "_cutout", lambda ranges: (200, b"<html>hello</html>", 18))
        with pytest.raises(DataError, match="damaged reply, 4 times"):
            source.read(ALL)
        monkeypatch.setattr(boss, "answer", lambda path: (200, b"<html>hello</html>", 18))
        with pytest.raises(DataError, match="damaged reply, 4 times"):
            open_source(boss.uri)


def test_what_is_not_there_is_asked_for_once(serve, ingest):
    with serve(EM[:9]) as boss:
        ingest("--input=bossdb://lab/mouse/none").refused(65, "bossdb://lab/mouse/none", "404", "check")
        assert len(boss.asked) == 1


def test_a_server_that_is_gone(serve, ingest):
    with serve(EM[:9]) as boss:
        source = open_source(boss.uri)
    with pytest.raises(TransientError, match="no answer after 4 tries"):
        source.read(ALL)
    ingest("--input", boss.uri).refused(75, boss.uri, "no answer after 4 tries", "is the network up?")


@pytest.mark.parametrize("uri", ["bossdb://", "bossdb://a/b", "bossdb://a/b/c/0/1", "bossdb://a//c"])
def test_a_malformed_address(uri):
    with pytest.raises(ParameterError, match="expected bossdb://collection/experiment/channel"):
        open_source(uri)


def test_ingest_takes_a_cutout_of_the_usual_size(serve, ingest):
    with serve(EM[:66].repeat(7, axis=1)) as boss:
        done = ingest("--input", boss.uri)
        assert done.volume.shape == (64, 256, 256)
        assert done.volume.scale == (30, 4, 5) and done.facts["voxel_size_from"] == "source"
        corner = done.facts["corner_zyx"]
        part = tuple(slice(c, c + n) for c, n in zip(corner, (64, 256, 256)))
        np.testing.assert_array_equal(done.volume.read(), boss.volume[part])
