"""Tracks for other tools: Cell Tracking Challenge, geff, napari, TrackMate.

Positions are centroids in pixels, (t, y, x) with pixel centres at whole numbers, unless a pixel size is
given; frames count from 0. Every writer makes its folder, and returns what it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError
from voxelmill.inference.tracking import Tracks


def track_edges(tracks: Tracks) -> NDArray[np.int64]:
    """(e, 2) rows of `tracks.nodes`, earlier and later: along each track, and from each mother to its
    daughters."""
    nodes = tracks.nodes
    order = np.flatnonzero(nodes["track_id"] > 0)
    order = order[np.argsort(nodes["track_id"][order], kind="stable")]  # by track, then by time
    ids = nodes["track_id"][order]
    same = ids[1:] == ids[:-1]
    first, last = (order[np.concatenate([[True], ~same])[: len(order)]], order[np.concatenate([~same, [True]])[: len(order)]])
    born = tracks.tracks["parent"] > 0
    mother = np.searchsorted(tracks.tracks["track_id"], tracks.tracks["parent"][born])
    along = np.stack([order[:-1][same], order[1:][same]], axis=1)
    return np.concatenate([along, np.stack([last[mother], first[born]], axis=1)])


def lineages(tracks: Tracks) -> NDArray[np.uint32]:
    """(k,) for each row of `tracks.tracks`, the track id of its first ancestor."""
    row = {int(i): k for k, i in enumerate(tracks.tracks["track_id"])}
    root = tracks.tracks["track_id"].copy()
    for k in np.argsort(tracks.tracks["first"], kind="stable"):  # mothers come before their daughters
        if tracks.tracks["parent"][k]:
            root[k] = root[row[int(tracks.tracks["parent"][k])]]
    return root


def ctc_table(tracks: Tracks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tracks as the Cell Tracking Challenge has them, where a track is there in each of its frames.

    A track with gaps becomes one per stretch: the first keeps the id, the others get new ones and name the
    stretch before as their parent, as the challenge's rules ask for.

    Returns:
        (k, 4) int64, L B E P (label, first, last frame, parent); and (n,) int64, the label of each of
        `tracks.nodes`.
    """
    nodes = tracks.nodes
    label = nodes["track_id"].astype(np.int64)
    order = np.flatnonzero(label > 0)
    order = order[np.argsort(label[order], kind="stable")]
    ids, frame = label[order], nodes["frame"][order]
    again = np.flatnonzero((np.diff(ids) == 0) & (np.diff(frame) > 1)) + 1
    piece = np.zeros(len(ids), np.int64)
    piece[again] = np.arange(len(again)) + ids.max(initial=0) + 1
    start = np.concatenate([[True], np.diff(ids) != 0])[: len(ids)]
    piece[start] = ids[start]
    begin = np.flatnonzero(piece)
    span = np.diff(begin, append=len(ids))
    label[order] = np.repeat(piece[begin], span)
    parent = np.zeros(len(begin), np.int64)
    resumed = ~start[begin]
    parent[resumed] = piece[begin][np.flatnonzero(resumed) - 1]
    last_piece = {int(ids[b]): int(piece[b]) for b in begin}
    mother = dict(zip(tracks.tracks["track_id"].tolist(), tracks.tracks["parent"].tolist()))
    for k in np.flatnonzero(start[begin]):
        parent[k] = last_piece.get(mother[int(ids[begin[k]])], 0)
    rows = np.stack([piece[begin], frame[begin], frame[begin + span - 1], parent], axis=1)
    return rows[np.argsort(rows[:, 0])].astype(np.int64), label


def write_ctc(folder: Path, tracks: Tracks, frames: Iterable[NDArray]) -> Path:
    """Cell Tracking Challenge: `mask0000.tif`, ... and `res_track.txt` with a line `L B E P` per track.

    The masks are uint16, which the challenge's own tools insist on, and uint32 if there are more than
    65,535 labels.

    Args:
        folder: where the files go.
        tracks: the tracked movie.
        frames: the label frames that were tracked, (y, x) each; one at a time is held in memory.

    Raises:
        DataError: a frame has labels that it did not have when it was tracked, or there are too few frames.
    """
    import tifffile

    from voxelmill.inference.cell_tables import relabel_frame

    rows, label = ctc_table(tracks)
    dtype = np.uint16 if rows[:, 0].max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for t, frame in enumerate(frames):
        low, high = np.searchsorted(tracks.nodes["frame"], [t, t + 1])
        mask = relabel_frame(frame, tracks.nodes["label"][low:high], label[low:high]).astype(dtype)
        tifffile.imwrite(folder / f"mask{t:04d}.tif", mask, compression="zlib")
        count = t + 1
    if len(tracks.nodes) and count <= tracks.nodes["frame"][-1]:
        raise DataError(
            f"{folder}: {count} frames were given, but frame {tracks.nodes['frame'][-1]} has tracks; "
            "give all frames that were tracked"
        )
    (folder / "res_track.txt").write_text("".join(f"{a} {b} {c} {d}\n" for a, b, c, d in rows.tolist()))
    return folder


def write_napari(table: Path, graph: Path, tracks: Tracks) -> tuple[Path, Path]:
    """napari's tracks layer: a CSV `track_id,t,y,x`, and its graph as JSON, daughter -> [mother].

    In napari: `viewer.add_tracks(numpy.loadtxt(table, delimiter=",", skiprows=1), graph={int(k): v for k, v
    in json.load(open(graph)).items()})`.
    """
    nodes = tracks.nodes[tracks.nodes["track_id"] > 0]
    nodes = nodes[np.argsort(nodes["track_id"], kind="stable")]
    lines = [f"{n['track_id']},{n['frame']},{n['y']:.3f},{n['x']:.3f}\n" for n in nodes]
    born = tracks.tracks[tracks.tracks["parent"] > 0]
    links = {str(n["track_id"]): [int(n["parent"])] for n in born}
    for path in (table, graph):
        path.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("track_id,t,y,x\n" + "".join(lines))
    graph.write_text(json.dumps(links, indent=1) + "\n")
    return table, graph


def write_geff(
    store: Path, tracks: Tracks, *, pixel_size: float | None = None, frame_interval: float | None = None, zarr_format: int = 3
) -> Path:
    """Graph exchange file format 1.3 (https://liveimagetrackingtools.org/geff): one node per cell and frame.

    Node properties: t (frame), y, x (px), area (px), label (of the frame), tracklet (track id), lineage (id
    of the first ancestor). Scales to physical units stand in the axes. Written without the `geff` package,
    whose requirements contradict those of zarr 3.

    Args:
        store: a new folder, by custom named `*.geff`.
        tracks: the tracked movie; regions without a track are left out.
        pixel_size: micrometres per pixel.
        frame_interval: minutes per frame.
        zarr_format: 3, or 2 for older readers.
    """
    import zarr

    kept = np.flatnonzero(tracks.nodes["track_id"] > 0)
    nodes = tracks.nodes[kept]
    number = np.full(len(tracks.nodes), -1)
    number[kept] = np.arange(len(kept))
    roots: NDArray | list[int] = (
        lineages(tracks)[np.searchsorted(tracks.tracks["track_id"], nodes["track_id"])] if len(nodes) else []
    )
    props = {
        "t": nodes["frame"].astype(np.int64),
        "y": nodes["y"],
        "x": nodes["x"],
        "area": nodes["area"],
        "label": nodes["label"],
        "tracklet": nodes["track_id"].astype(np.uint64),
        "lineage": np.asarray(roots, np.uint64),
    }

    def axis(name: str, kind: str, unit: str, scale: float | None, scaled: str) -> dict:
        entry: dict = {"name": name, "type": kind, "unit": unit}
        if len(nodes):
            entry |= {"min": float(props[name].min()), "max": float(props[name].max())}
        return entry | ({"scale": scale, "scaled_unit": scaled} if scale else {})

    axes = [
        axis("t", "time", "frame", frame_interval, "minute"),
        axis("y", "space", "pixel", pixel_size, "micrometer"),
        axis("x", "space", "pixel", pixel_size, "micrometer"),
    ]
    units = {"t": "frame", "y": "pixel", "x": "pixel", "area": "pixel^2"}
    meta = {
        "geff_version": "1.3",
        "directed": True,
        "axes": axes,
        "node_props_metadata": {
            name: {"identifier": name, "dtype": str(v.dtype), "varlength": False, "unit": units.get(name)}
            for name, v in props.items()
        },
        "edge_props_metadata": {},
        "track_node_props": {"lineage": "lineage", "tracklet": "tracklet"},
        "display_hints": {"display_horizontal": "x", "display_vertical": "y", "display_time": "t"},
    }
    root = zarr.create_group(store, zarr_format=zarr_format, overwrite=True)
    codec = zarr.codecs.ZstdCodec(checksum=True) if zarr_format == 3 else "auto"

    def put(path: str, values: NDArray) -> None:
        chunks = tuple(max(n, 1) for n in values.shape)
        root.create_array(path, data=values, chunks=chunks, compressors=codec)

    put("nodes/ids", np.arange(len(nodes), dtype=np.uint64))
    put("edges/ids", number[track_edges(tracks)].astype(np.uint64))
    root.require_group("edges/props")
    for name, values in props.items():
        put(f"nodes/props/{name}/values", values)
    root.attrs["geff"] = meta  # last: a reader finds either all or no graph
    return store


def write_trackmate(
    path: Path,
    tracks: Tracks,
    *,
    pixel_size: float | None = None,
    times: Sequence[float] | None = None,
    shape: tuple[int, int] = (0, 0),
    image: Path | None = None,
) -> Path:
    """TrackMate XML (model version 7), which Fiji opens by "Load a TrackMate file".

    A track of TrackMate is a whole lineage, with its divisions. Spots are discs of the area of their cell.

    Args:
        path: the XML file.
        tracks: the tracked movie; regions without a track are left out.
        pixel_size: micrometres per pixel; without it, positions are in pixels.
        times: minutes of each frame; without them, times are in frames.
        shape: (height, width) of the frames, px.
        image: the image that TrackMate is to show.
    """
    from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

    size = pixel_size or 1.0
    space, time = "micrometer" if pixel_size else "pixel", "minute" if times is not None else "frame"
    n_frames = int(tracks.nodes["frame"][-1]) + 1 if len(tracks.nodes) else 0
    clock = np.arange(n_frames, dtype=np.float64) if times is None else np.asarray(times, np.float64)
    interval = float(np.median(np.diff(clock))) if len(clock) > 1 else 1.0
    root = Element("TrackMate", version="7.11.1")
    model = SubElement(root, "Model", spatialunits=space, timeunits=time)
    features = SubElement(model, "FeatureDeclarations")
    for group, rows in _FEATURES.items():
        listed = SubElement(features, group)
        for feature, dimension, whole in rows:
            SubElement(
                listed,
                "Feature",
                feature=feature,
                name=feature.capitalize().replace("_", " "),
                shortname=feature.capitalize(),
                dimension=dimension,
                isint="true" if whole else "false",
            )

    nodes = tracks.nodes
    kept = np.flatnonzero(nodes["track_id"] > 0)
    all_spots = SubElement(model, "AllSpots", nspots=str(len(kept)))
    frame, in_frame = -1, all_spots
    for k in kept:
        n = nodes[k]
        if n["frame"] != frame:
            frame = int(n["frame"])
            in_frame = SubElement(all_spots, "SpotsInFrame", frame=str(frame))
        SubElement(
            in_frame,
            "Spot",
            ID=str(k),
            name=f"{n['track_id']}",
            QUALITY="1.0",
            POSITION_T=f"{clock[frame]:.9g}",
            POSITION_X=f"{n['x'] * size:.6g}",
            POSITION_Y=f"{n['y'] * size:.6g}",
            POSITION_Z="0.0",
            FRAME=str(frame),
            RADIUS=f"{np.sqrt(n['area'] / np.pi) * size:.6g}",
            VISIBILITY="1",
            TRACK_LABEL=str(n["track_id"]),
        )

    all_tracks, shown = SubElement(model, "AllTracks"), SubElement(model, "FilteredTracks")
    edges = track_edges(tracks)
    if len(edges):
        owner = lineages(tracks)[np.searchsorted(tracks.tracks["track_id"], nodes["track_id"][edges[:, 0]])]
        order = np.argsort(owner, kind="stable")
        for lineage in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
            name = str(owner[lineage[0]])
            element = SubElement(all_tracks, "Track", name=f"Track_{name}", TRACK_ID=name, TRACK_INDEX=name)
            SubElement(shown, "TrackID", TRACK_ID=name)
            for a, b in edges[lineage]:
                SubElement(
                    element,
                    "Edge",
                    SPOT_SOURCE_ID=str(a),
                    SPOT_TARGET_ID=str(b),
                    LINK_COST="-1.0",
                    EDGE_TIME=f"{(clock[nodes['frame'][a]] + clock[nodes['frame'][b]]) / 2:.9g}",
                )

    settings = SubElement(root, "Settings")
    SubElement(
        settings,
        "ImageData",
        filename=image.name if image else "",
        folder=str(image.parent) if image else "",
        width=str(shape[1]),
        height=str(shape[0]),
        nslices="1",
        nframes=str(n_frames),
        pixelwidth=str(size),
        pixelheight=str(size),
        voxeldepth="1.0",
        timeinterval=str(interval),
    )
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)
    return path


_FEATURES = {
    "SpotFeatures": [
        ("QUALITY", "QUALITY", False),
        ("POSITION_X", "POSITION", False),
        ("POSITION_Y", "POSITION", False),
        ("POSITION_Z", "POSITION", False),
        ("POSITION_T", "TIME", False),
        ("FRAME", "NONE", True),
        ("RADIUS", "LENGTH", False),
        ("VISIBILITY", "NONE", True),
        ("TRACK_LABEL", "NONE", True),
    ],
    "EdgeFeatures": [
        ("SPOT_SOURCE_ID", "NONE", True),
        ("SPOT_TARGET_ID", "NONE", True),
        ("LINK_COST", "COST", False),
        ("EDGE_TIME", "TIME", False),
    ],
    "TrackFeatures": [("TRACK_INDEX", "NONE", True), ("TRACK_ID", "NONE", True)],
}
