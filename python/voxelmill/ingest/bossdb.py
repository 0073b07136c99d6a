"""BossDB through `intern`: shape and voxel size from the service, cutouts with retries and a check."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError, TransientError
from ..core.volume import Region
from .sources import Source

TRIES, WAIT_S = 4, 1.0


def open_bossdb(uri: str) -> Source:
    """Open `bossdb://collection/experiment/channel`.

    The service is BossDB's own unless BOSSDB_HOST (and BOSSDB_PROTOCOL, BOSSDB_TOKEN) say otherwise.
    Raises ParameterError for a malformed URI, DataError where the channel is not there or a reply is
    cut off, TransientError when the service stays unavailable."""
    if len(uri.removeprefix("bossdb://").strip("/").split("/")) != 3:
        raise ParameterError(f"--input {uri}: expected bossdb://collection/experiment/channel")
    try:
        from intern import array
    except ImportError:
        raise ParameterError("--input bossdb://... needs the package intern: pip install 'voxelmill[bossdb]'") from None

    config = None
    if os.environ.get("BOSSDB_HOST"):
        config = {"protocol": os.environ.get("BOSSDB_PROTOCOL", "https"), "host": os.environ["BOSSDB_HOST"],
                  "token": os.environ.get("BOSSDB_TOKEN", "public")}
    volume = _patiently(lambda: array(uri, boss_config=config), uri)
    shape = tuple(int(n) for n in _patiently(lambda: volume.shape, uri)[-3:])
    dtype = np.dtype(volume.dtype)

    def read(region: Region) -> np.ndarray:
        wanted = tuple(len(range(*s.indices(n))) for s, n in zip(region, shape))
        got = _patiently(lambda: np.asarray(volume[region]), uri)
        if got.size != int(np.prod(wanted)):
            raise DataError(f"{uri}: the service sent {got.shape} for a cutout of {wanted}; try again later")
        return got.reshape(wanted)

    return Source(uri, "bossdb", shape, dtype, read, _voxel_size(volume))  # type: ignore[arg-type]


def _voxel_size(volume: Any) -> tuple[float, ...] | None:
    """z, y, x in nm from the coordinate frame."""
    to_nm = {"nanometers": 1.0, "micrometers": 1e3, "millimeters": 1e6}
    frame = getattr(volume, "_coord_frame", None)
    size = getattr(volume, "voxel_size", None)
    unit = to_nm.get(str(getattr(volume, "voxel_unit", None) or getattr(frame, "voxel_unit", "")), None)
    if size is None or unit is None or not all(float(v) > 0 for v in size):
        return None
    return tuple(float(v) * unit for v in size)


def _patiently(ask: Any, uri: str) -> Any:
    """Ask again, with longer waits, while the service answers 5xx or not at all."""
    import requests

    for attempt in range(TRIES):
        try:
            return ask()
        except (requests.HTTPError, requests.ConnectionError, requests.Timeout) as error:
            status = _status(error)
            if status is not None and status < 500 and status != 429:
                raise DataError(f"{uri}: the service answers {status} ({_line(error)}); "
                                "check collection, experiment, channel and cutout") from None
            last = error
        except (ValueError, RuntimeError, OSError) as error:     # blosc: a reply that was cut off
            raise DataError(f"{uri}: unreadable reply ({_line(error)}); the body was cut off or damaged") from None
        if attempt + 1 < TRIES:
            time.sleep(WAIT_S * 2**attempt)
    raise TransientError(f"{uri}: no good answer after {TRIES} tries ({_line(last)}); run again with -resume")


def _status(error: Exception) -> int | None:
    reply = getattr(error, "response", None)
    if reply is not None:
        return int(reply.status_code)
    import re

    found = re.search(r"\b([45]\d\d)\b", str(error))
    return int(found[1]) if found else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
