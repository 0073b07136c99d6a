"""Stores behind http, s3 and gs, and in a zip: servers on this machine, the same voxels as from the folder."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr
from voxelmill.core.errors import DataError, ParameterError, StorageError, TransientError
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest.volumes import kvstore
from voxelmill.ingest.volumes.formats import open_source

from .conftest import write_precomputed

EM = np.random.default_rng(1).integers(1, 256, (9, 20, 30), np.uint8)
PART = (slice(2, 7), slice(3, 19), slice(5, 28))
ALL = (slice(None),) * 3
KINDS = ("ome-zarr 0.5", "ome-zarr 0.4", "zarr 2", "zarr 3", "n5", "precomputed")
SIZED = ("ome-zarr 0.5", "ome-zarr 0.4", "precomputed")


def stored(folder: Path, kind: str) -> Path:
    """EM in a folder, in one of KINDS."""
    if kind == "ome-zarr 0.5":
        create_image(folder, layout(EM.shape, "uint8", (4, 16, 16), (4, 8, 8)), Space.zyx((30, 4, 5))).write(ALL, EM)
    elif kind == "ome-zarr 0.4":
        from ome_zarr.format import FormatV04
        from ome_zarr.writer import write_image

        axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
        scales = [[{"type": "scale", "scale": [30.0, 4.0, 5.0]}]]
        write_image(EM, str(folder), axes=axes, scale_factors=[], coordinate_transformations=scales, fmt=FormatV04())
    elif kind.startswith("zarr"):
        zarr.create_array(store=str(folder), data=EM, zarr_format=int(kind[-1]), chunks=(4, 8, 8))
    elif kind == "n5":
        meta = {
            "dimensions": list(EM.shape[::-1]),
            "blockSize": [8, 8, 4],
            "dataType": "uint8",
            "compression": {"type": "gzip"},
        }
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}, "metadata": meta}
        ts.open(spec, create=True).result()[...].write(EM.T).result()
    else:
        write_precomputed(folder, EM, offset=(100, 50, 7))
    return folder


def same(location: str, kind: str) -> None:
    source = open_source(location)
    assert source.shape == EM.shape and source.dtype == EM.dtype and source.name == location
    np.testing.assert_array_equal(source.read(PART), EM[PART])
    np.testing.assert_array_equal(source.read(ALL), EM)
    assert source.voxel_size == ((30, 4, 5) if kind in SIZED else None)
    if kind == "precomputed":
        assert source.origin == (7 * 30, 50 * 4, 100 * 5)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder, whole or in parts; answers 503 to what is asked of `busy` names."""

    busy: tuple[str, ...] = ()
    parts = True
    protocol_version = "HTTP/1.1"  # one connection for many requests
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if any(name in self.path for name in self.busy):
            self.send_error(503)
        elif self.path.startswith("/private"):
            self.send_error(403)
        elif not path.is_file():
            self.send_error(404)
        else:
            answer(self, path.read_bytes(), self.parts)

    def log_message(self, *words: object) -> None:
        pass


def answer(request: http.server.BaseHTTPRequestHandler, body: bytes, parts: bool = True) -> None:
    """200 with the body, or 206 with the part that is asked for."""
    size, asked = len(body), request.headers.get("Range") if parts else None
    if asked:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        low, high = (int(first), int(last or size - 1)) if first else (max(0, size - int(last)), size - 1)
        body = body[low : high + 1]
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {low}-{low + len(body) - 1}/{size}")
    else:
        request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.send_header("x-goog-generation", "1")
    request.end_headers()
    request.wfile.write(body)


def serve(handler: type) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def web(tmp_path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    yield from (f"http://{host}" for host in serve(functools.partial(Quiet, directory=str(tmp_path / "web"))))


@pytest.mark.parametrize("kind", KINDS)
def test_http(tmp_path, web, kind):
    stored(tmp_path / "web/a b.zarr", kind)
    same(f"{web}/a%20b.zarr", kind)  # an address is one, and has its escapes
    same(f"{'precomputed://' if kind == 'precomputed' else ''}{web}/a%20b.zarr/", kind)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_http_a_group_needs_a_key_or_consolidated_metadata(tmp_path, web):
    for version in (2, 3):
        group = zarr.open_group(str(tmp_path / f"web/v{version}.zarr"), mode="w", zarr_format=version)
        group.create_array("volumes/raw", data=EM, chunks=(4, 8, 8))
        group.create_array("volumes/other", data=EM)
        where = f"{web}/v{version}.zarr"
        with pytest.raises(ParameterError, match="not listed there; name the dataset with --input_key"):
            open_source(where)
        np.testing.assert_array_equal(open_source(where, key="volumes/raw").read(ALL), EM)
        zarr.consolidate_metadata(str(tmp_path / f"web/v{version}.zarr"))
        np.testing.assert_array_equal(open_source(where).read(ALL), EM)


def test_http_nested_chunks_without_a_separator(tmp_path, web):
    shutil.copytree(Path(__file__).parents[1] / "data/em_cases/07_nested_chunks_no_separator_key.zarr", tmp_path / "web/v")
    assert open_source(f"{web}/v").read(ALL).min() > 0


def test_a_server_that_has_not_got_it_is_busy_or_not_there(tmp_path, web, monkeypatch):
    monkeypatch.setattr(kvstore, "PATIENCE", {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"})
    for location in (f"{web}/nothing", f"{web}/private/v.zarr", f"precomputed://{web}/nothing"):
        with pytest.raises(StorageError, match=r"check the (address|path)"):
            open_source(location)
    stored(tmp_path / "web/v.zarr", "zarr 3")
    monkeypatch.setattr(Quiet, "busy", ("c/1",))
    source = open_source(f"{web}/v.zarr")
    with pytest.raises(TransientError, match="run again with -resume"):
        source.read(ALL)
    monkeypatch.setattr(Quiet, "busy", ("zarr.json",))
    with pytest.raises(TransientError, match="run again with -resume"):
        open_source(f"{web}/v.zarr")
    with pytest.raises(TransientError, match="is the address right"):
        open_source("http://127.0.0.1:9/v.zarr")


def test_a_server_without_parts_of_files(tmp_path, web, monkeypatch):
    monkeypatch.setattr(Quiet, "parts", False)
    stored(tmp_path / "web/v.zarr", "zarr 3")
    same(f"{web}/v.zarr", "zarr 3")
    stored(tmp_path / "web/s.zarr", "ome-zarr 0.5")
    with pytest.raises(StorageError, match="does not give parts of a file, which shards need"):
        open_source(f"{web}/s.zarr").read(ALL)


@pytest.mark.parametrize("kind", ["ome-zarr 0.5", "precomputed"])
def test_what_was_read_has_a_digest(ingest, slabs, tmp_path, web, kind):
    """The same, whoever reads it and in whatever pieces; another, once a voxel has changed."""
    stored(tmp_path / "web/v", kind)
    flags = ("--input", f"{web}/v", "--voxel_size=30,4,5", "--chunk=2,8,8")
    first = ingest(*flags, "--shard=4,8,8", "--blocks=1").facts
    assert first["digest_of"] == "values read"
    record = json.loads((tmp_path / "ingest.raw.provenance.json").read_text())
    assert [(i["path"], i["digest"], i["bytes"]) for i in record["inputs"]] == [(f"{web}/v", first["digest"], EM.nbytes)]
    assert slabs(*flags, "--shard=2,16,32", "--blocks=4").facts["digest"] == first["digest"]
    other = EM.copy()
    other[4, 5, 6] ^= 1
    shutil.rmtree(tmp_path / "web/v")
    zarr.create_array(store=str(tmp_path / "web/v"), data=other)
    assert ingest(*flags, "--shard=4,8,8", "--blocks=1").facts["digest"] != first["digest"]


def test_a_lost_chunk_behind_http(ingest, tmp_path, web):
    (stored(tmp_path / "web/v.zarr", "zarr 3") / "c/1/1/1").unlink()
    done = ingest("--input", f"{web}/v.zarr", "--voxel_size=30,4,5")
    assert done.facts["lost_chunks"] == [[4, 8, 8]]


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple]:
    """An S3 server, a client and a bucket."""
    server_of = pytest.importorskip("moto.server", reason="moto is not installed")
    boto3 = pytest.importorskip("boto3")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket="volumes")
    yield endpoint, client
    server.stop()


def uploaded(client, folder: Path, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "volumes", f"{prefix}/{path.relative_to(folder)}")


@pytest.fixture
def aws(s3, monkeypatch, tmp_path):
    endpoint, client = s3
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ):
        monkeypatch.setenv(name, value)
    return client


@pytest.mark.parametrize("kind", KINDS)
def test_s3(aws, tmp_path, kind):
    uploaded(aws, stored(tmp_path / "v", kind), f"em data/{kind}")
    same(f"s3://volumes/em data/{kind}", kind)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_s3_groups_are_searched_and_absence_is_told(aws, tmp_path):
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w")
    group.create_array("volumes/raw", data=EM, chunks=(4, 8, 8))
    group.create_array("volumes/other", data=EM)
    uploaded(aws, tmp_path / "v.zarr", "group.zarr")
    with pytest.raises(ParameterError, match="not listed there; name the dataset with --input_key"):
        open_source("s3://volumes/group.zarr")
    zarr.consolidate_metadata(str(tmp_path / "v.zarr"))
    uploaded(aws, tmp_path / "v.zarr", "group.zarr")
    np.testing.assert_array_equal(open_source("s3://volumes/group.zarr").read(ALL), EM)
    with pytest.raises(StorageError, match=r"s3://volumes/nothing: no Zarr or N5 here"):
        open_source("s3://volumes/nothing")


def test_s3_of_all_without_credentials(aws, tmp_path, monkeypatch):
    uploaded(aws, stored(tmp_path / "v", "zarr 3"), "open")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert kvstore.KvStore.of("s3://volumes/open", "").spec["aws_credentials"] == {"type": "anonymous"}
    for path in (tmp_path / "v").rglob("*"):
        if path.is_file():
            aws.put_object_acl(Bucket="volumes", Key=f"open/{path.relative_to(tmp_path / 'v')}", ACL="public-read")
    same("s3://volumes/open", "zarr 3")


def test_gs(tmp_path):
    """Google's own server is asked for an object by its name; here a stand-in answers, in a process of its own since
    TensorStore reads the server's address once."""
    import subprocess
    import sys

    stored(tmp_path / "bucket-1/em/v.zarr", "ome-zarr 0.5")

    class Objects(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            _, bucket, _, name = url.path.lstrip("/").removeprefix("storage/v1/").split("/", 3)
            path = tmp_path / bucket / urllib.parse.unquote(name)
            if path.is_file():
                answer(self, path.read_bytes())
            else:
                self.send_error(404)

        def log_message(self, *words: object) -> None:
            pass

    code = (
        "import sys; from voxelmill.ingest.volumes.formats import open_source;"
        "s = open_source('gs://bucket-1/em/v.zarr'); print(s.voxel_size, s.read((slice(None),) * 3).sum())"
    )
    import os

    for host in serve(Objects):
        env = {
            **os.environ,
            "TENSORSTORE_GCS_HTTP_URL": f"http://{host}",
            "GCE_METADATA_ROOT": "127.0.0.1:9",
            "HOME": str(tmp_path),
        }
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["(30.0,", "4.0,", "5.0)", str(EM.sum())], done.stderr


def zipped(folder: Path, target: Path, inside: str = "", pack: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(target, "w", pack) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{inside}{path.relative_to(folder)}")
    return target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", ["", "v.zarr/"])
def test_zip(tmp_path, kind, inside):
    folder = stored(tmp_path / "v", kind)
    same(str(zipped(folder, tmp_path / "it's [1].zarr.zip", inside)), kind)
    same(str(zipped(folder, tmp_path / "v.ozx", inside, zipfile.ZIP_DEFLATED)), kind)


def test_zip_behind_http(tmp_path, web):
    zipped(stored(tmp_path / "v", "ome-zarr 0.5"), tmp_path / "web/v.ozx")
    same(f"{web}/v.ozx", "ome-zarr 0.5")


def test_zip_damaged_or_of_something_else(tmp_path, ingest):
    file = zipped(stored(tmp_path / "v", "zarr 3"), tmp_path / "v.zarr.zip")
    content = file.read_bytes()
    for part in (10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:part])
        with pytest.raises(DataError, match=r"v\.zarr\.zip.*damaged"):
            open_source(str(file)).read(ALL)
    with zipfile.ZipFile(file, "w") as other:
        other.writestr("notes.txt", "words")
    with pytest.raises(StorageError, match=r"v\.zarr\.zip: no Zarr or N5 here"):
        open_source(str(file))
    file.write_bytes(content)
    assert ingest("--input", file, "--voxel_size=1,1,1").facts["digest_of"] == "files"


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_is_taken_letter_by_letter(tmp_path, kind):
    """`%20` in a folder's name is no blank, and quotes, brackets and spaces are only letters."""
    folder = tmp_path / "a%20b it's [1] {a} *ü"
    folder.mkdir()
    same(str(stored(folder / "v%2F.zarr", kind)), kind)


def test_a_file_uri_may_have_escapes(tmp_path):
    folder = stored(tmp_path / "a b.zarr", "zarr 3")
    same(f"file://{str(folder).replace(' ', '%20')}", "zarr 3")
    same(f"file://{folder}", "zarr 3")
    with pytest.raises(StorageError, match="no such file"):
        open_source(str(folder).replace(" ", "%20"))


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "user@169.254.169.254:80", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fe80::1]"],
)
@pytest.mark.parametrize("before", ["http://", "precomputed://http://"])
def test_addresses_where_clouds_keep_credentials(before, host):
    """However they are written; nothing is asked there."""
    with pytest.raises(ParameterError, match="link-local, where no data lie"):
        open_source(f"{before}{host}/latest/meta-data")


def test_a_server_does_not_send_us_elsewhere(tmp_path, web):
    """A redirect is no answer: it could lead to where a name of ours would not."""
    stored(tmp_path / "web/v.zarr", "zarr 3")

    class Elsewhere(Quiet):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{web}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    for host in serve(Elsewhere):
        with pytest.raises((StorageError, DataError), match=r"v\.zarr.*302"):
            open_source(f"http://{host}/v.zarr")


def test_a_zip_is_never_unpacked(tmp_path):
    """Names in it that lead out are keys that nobody asks for: the volume is read, nothing is written."""
    file = zipped(stored(tmp_path / "in/v", "zarr 3"), tmp_path / "in/v.zarr.zip")
    with zipfile.ZipFile(file, "a") as more:
        for name in ("../evil", "/tmp/evil", "a/../../evil", "C:\\evil"):
            more.writestr(name, "evil")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        more.writestr(link, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    same(str(file), "zarr 3")
    assert sorted(tmp_path.rglob("*")) == before
