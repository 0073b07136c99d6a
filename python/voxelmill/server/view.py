"""Neuroglancer over a release: the state that shows its layers, and the viewer itself, out of the wheel `neuroglancer`.

The wheel's client is the one that talks to Python: it must stand at `/v/TOKEN/`, listens at `/events/TOKEN` and sends its
state to `/state/TOKEN`. Here it is told nothing and what it says is not kept; the state stands in the address.
"""

from __future__ import annotations

import asyncio
import importlib.util
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles

from ..catalog import regions
from ..core.errors import StorageError
from ..core.volume import Image
from ..serving import viewer
from . import answers
from .answers import As, Json
from .api import REFUSALS, Tag, context
from .context import Missing, Release

router = APIRouter(responses=REFUSALS)
ALIVE = 5.0  # seconds between signs of life, without which the viewer says that it is disconnected
MOST = 300  # synapses, and supervoxels of a neurite, that an address can hold
NOTED = frozenset({"/state/view", "/action/view"})  # what the viewer posts; nothing is done with it
POLICY = (  # its codecs are made of text: unsafe-eval
    "default-src 'self'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def client() -> Path | None:
    """The folder of the built viewer; None where the wheel is not installed."""
    found = importlib.util.find_spec("neuroglancer")  # not imported: its server is of no use here
    folder = Path(found.origin).parent / "static" / "client" if found and found.origin else None
    return folder if folder and (folder / "index.html").exists() else None


class Client(StaticFiles):
    """The viewer's files, which may load from this server alone."""

    def file_response(self, *args: Any, **more: Any) -> Any:
        answer = super().file_response(*args, **more)
        answer.headers["Content-Security-Policy"] = POLICY
        return answer


@router.get("/api/releases/{tag}/view")
def view(
    request: Request,
    tag: Tag,
    neurite: Annotated[str, Query(pattern=r"^[0-9]{0,20}$", description="root id of a neurite to show")] = "",
) -> Annotated[Json, As(answers.View)]:
    """The state of Neuroglancer with image, segmentation, meshes, skeletons and synapses, and a link that opens it."""
    of = context(request)
    release = of.release(tag)
    base = f"{request.base_url}data/{urllib.parse.quote(release.tag)}"
    try:
        state = viewer.of_results(release.files, base)
    except StorageError:
        raise Missing(f"release {release.tag} has no volumes") from None
    if (image := release.image or regions.volume_of(of.store, release.tag)) is not None:
        whole(state, image)
    node = of.node(release, neurite) if neurite else None
    segmented(state["layers"])
    state["layers"] += shapes(release, base, {layer["name"] for layer in state["layers"]})
    if node is not None:
        choose(state["layers"], release, int(neurite))
    notes = synapses(release, node, state["dimensions"])
    if notes:
        state["layers"].append(notes)
        if node is not None:
            state["position"] = notes["annotations"][0]["point"]
    here = f"{request.base_url}v/view" if client() else viewer.NEUROGLANCER
    return {"release": release.tag, "state": state, "link": viewer.link(state, here)}


def whole(state: dict[str, Any], image: Image) -> None:
    """Shows all of a small volume, and of a large one a voxel a pixel in the sections."""
    extent = max(n * s for n, s in zip(image.shape, image.scale, strict=True)) / min(image.scale)  # in the finest voxels
    state["crossSectionScale"] = min(1.0, extent / 400)
    state["projectionScale"] = extent * 1.5


def segmented(layers: list[dict[str, Any]]) -> None:
    """Supervoxels are a segmentation, whatever their store says, and shown where there are no neurites."""
    named = {layer["name"]: layer for layer in layers}
    if found := named.get("supervoxels"):
        found["type"] = "segmentation"
        found.pop("visible", None)
        if "neurites" in named:
            found["visible"] = False
        layers.sort(key=lambda layer: layer["type"] == "segmentation")


def shapes(release: Release, base: str, named: set[str]) -> list[dict[str, Any]]:
    """Meshes and skeletons, a layer each, where no labels of neurites carry them."""
    found = [] if "neurites" in named else viewer.forms(release.files, base, "neurites")
    return [
        {"type": "segmentation", "name": url.split("/")[-1 - url.endswith("precomputed")], "source": url} for url in found
    ]


def choose(layers: list[dict[str, Any]], release: Release, root: int) -> None:
    """One neurite, by its id in the segmentation or by its supervoxels."""
    for layer in layers:
        if layer["name"] in ("neurites", "meshes", "skeletons"):
            layer["segments"] = [str(root)]
        elif layer["name"] == "supervoxels":
            layer["segments"] = [str(s) for s in release.index.supervoxels_of(root)[:MOST].tolist()]


def synapses(release: Release, node: int | None, dimensions: dict[str, list]) -> dict[str, Any] | None:
    """Points where synapses are: of a neurite, or the first of the release. None where positions are not known."""
    index = release.index
    if node is None:
        at = np.arange(min(MOST, len(index.synapse_id)))
    else:
        at = np.unique(np.concatenate([index.synapses(node, None), index.synapses(None, node)]))[:MOST]
    step = np.array([dimensions[a][0] * 1e9 for a in "xyz"]) if all(dimensions[a][1] for a in "xyz") else np.ones(3)
    points = index.synapse_position[at][:, ::-1] / step  # (z, y, x) nm -> the state's x, y, z
    sound = np.isfinite(points).all(axis=1)
    rows = [
        {"type": "point", "id": str(i), "point": p}
        for i, p in zip(index.synapse_id[at][sound].tolist(), points[sound].round(3).tolist(), strict=True)
    ]
    if not rows:
        return None
    source = {"url": "local://annotations", "transform": {"outputDimensions": dimensions}}
    return {"type": "annotation", "name": "synapses", "source": source, "annotationColor": "#ffb000", "annotations": rows}


@router.get("/events/view", include_in_schema=False)
async def events(request: Request) -> StreamingResponse:
    """Signs of life, as long as somebody listens."""

    async def alive() -> AsyncIterator[str]:
        while not await request.is_disconnected():
            yield ": here\n\n"
            await asyncio.sleep(ALIVE)

    return StreamingResponse(alive(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.post("/state/view", include_in_schema=False)
@router.post("/action/view", include_in_schema=False)
async def noted() -> dict[str, Any]:
    return {}
