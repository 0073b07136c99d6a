"""Viewer states: what of a run is published, laid over each other and over its source in Neuroglancer.

Neuroglancer counts from the corner of a voxel. It moves OME-Zarr, whose positions are those of centres, by half a voxel,
and precomputed not at all; here precomputed is moved too, so that voxel 0 of both has one place.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..core.errors import DataError, StorageError
from ..core.metadata import attributes
from ..core.runs import PUBLISHED, volumes_in
from ..core.space import Space
from ..core.volume import list_labels, open_image

NEUROGLANCER = "https://neuroglancer-demo.appspot.com"
HERE = "http://127.0.0.1:8000"  # where `voxelmill view` serves the results


@dataclass(frozen=True)
class Layer:
    """An image or label image at an address, as `zarr://http://...` or `precomputed://gs://...`."""

    name: str
    url: str
    space: Space
    labels: bool = False
    shown: bool = True
    more: tuple[str, ...] = ()  # addresses of its meshes and skeletons, which lie where it lies

    def entry(self) -> dict[str, Any]:
        source: Any = self.url
        if self.url.startswith("precomputed:"):
            rows = [[float(r == c) for c in range(3)] + [-0.5] for r in range(3)]
            source = {"url": self.url, "transform": {"outputDimensions": dimensions(self.space), "matrix": rows}}
        if self.more:
            source = [source, *self.more]
        kind = "segmentation" if self.labels else "image"
        return {"type": kind, "name": self.name, "source": source, **({} if self.shown else {"visible": False})}


def dimensions(space: Space) -> dict[str, list]:
    """Of Neuroglancer's axes x, y, z: one step in metres, or without unit where the voxel size is not known."""
    return {a.name: [s / 1e9, "m"] if a.unit else [s, ""] for a, s in zip(space.axes[::-1], space.scale[::-1], strict=True)}


def state(layers: Sequence[Layer], shape: Sequence[int]) -> dict[str, Any]:
    """The state that shows these layers around the middle of the first, which has this shape (z, y, x).

    Raises DataError for a layer that cannot be laid over the first: one voxel size known, the other not."""
    first = layers[0].space
    for layer in layers[1:]:
        if layer.space.known != first.known:
            raise DataError(
                f"{layer.url}: voxel size known for one of {layer.name} and {layers[0].name}; expected both or none"
            )
    middle = first.position([(n - 1) / 2 for n in shape])
    return {
        "dimensions": dimensions(first),
        "position": [p / s for p, s in zip(middle[::-1], first.scale[::-1], strict=True)],
        "layers": [layer.entry() for layer in layers],
        "layout": "4panel",
    }


def of_results(results: Path, base: str = HERE, source: Sequence[str] = ()) -> dict[str, Any]:
    """The state of all volumes that a run has published, below `base`, and of `source`, further addresses to lay under
    them. Of the volumes the first is shown, the others are there to be switched on.

    Raises StorageError where there are none."""
    stores = volumes_in(results)
    if not stores:
        raise StorageError(f"{results}: no *.ome.zarr in any of {', '.join(PUBLISHED)}; give the --outdir of a finished run")
    layers = []
    for store in stores:
        url = f"zarr://{base.rstrip('/')}/{urllib.parse.quote(store.relative_to(results).as_posix())}"
        image, name = open_image(store), store.name.removesuffix(".ome.zarr")
        layers.append(Layer(name, url, image.space, "image-label" in attributes(store), store == stores[0]))
        layers += [
            Layer(of, f"{url}/labels/{of}", open_image(store, of).space, True, more=forms(results, base, of))
            for of in list_labels(store)
        ]
    known = layers[0].space
    layers += [Layer(f"source {n}" if n else "source", address, known) for n, address in enumerate(source)]
    layers.sort(key=lambda layer: layer.labels)  # labels lie on top
    return state(layers, open_image(stores[0]).shape)


def forms(results: Path, base: str, labels: str) -> tuple[str, ...]:
    """Addresses of the meshes and skeletons that a run has made of its neurites."""
    there = [name for name in ("meshes", "skeletons/precomputed") if (results / name / "info").exists()]
    return tuple(f"precomputed://{base.rstrip('/')}/{name}" for name in there if labels == "neurites")


def link(found: dict[str, Any], viewer: str = NEUROGLANCER) -> str:
    """The address that opens a state."""
    return f"{viewer}/#!{urllib.parse.quote(json.dumps(found, separators=(',', ':')), safe='')}"


def server(results: Path, port: int, viewer: str = NEUROGLANCER) -> ThreadingHTTPServer:
    """Serves a folder to this machine only, with parts of files, as shards are read; only `viewer` may use it from a page.

    Raises StorageError where the port is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Files, directory=str(results), viewer=viewer))
    except OSError as error:
        raise StorageError(f"port {port}: {error.strerror}; give another with --port") from None


class Files(SimpleHTTPRequestHandler):
    """Files of a folder, whole or a range of bytes."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, viewer: str, **more: Any):
        self.viewer = viewer
        super().__init__(*args, **more)

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", self.viewer)
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Access-Control-Allow-Headers", "Range")
        self.send_header("Access-Control-Expose-Headers", "Content-Range, Content-Length")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        path = Path(self.translate_path(self.path))
        if not asked or not any(asked.groups()) or not path.is_file():
            return super().do_GET()
        size = path.stat().st_size
        first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
        last = min(size, int(asked[2]) + 1 if asked[1] and asked[2] else size)
        self.send_response(206 if first < last else 416)
        self.send_header("Content-Range", f"bytes {first}-{last - 1}/{size}" if first < last else f"bytes */{size}")
        self.send_header("Content-Length", str(max(0, last - first)))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            left = last - first
            while left > 0 and (part := file.read(min(left, 2**20))):
                self.wfile.write(part)
                left -= len(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a viewer asks for hundreds of files."""
