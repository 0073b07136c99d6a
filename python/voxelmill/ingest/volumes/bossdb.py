"""BossDB through `intern`: shape, type and voxel size from the service, cutouts with retries and a check.

Requests follow the service's own blocks (`BLOCK`), so that none is fetched twice and each is small
enough to ask for again. `intern.array` is passed by: in 1.4.2 it asks the public service whatever its
configuration says, gives the voxel size as x, y, z and flattens a cutout of a single row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, product
from typing import Any, TypeVar

import numpy as np

from ...core.errors import DataError, ParameterError, TransientError
from ...core.volume import Region
from .source import Source, placed

T = TypeVar("T")
PUBLIC = {"protocol": "https", "host": "api.bossdb.io", "token": "public"}
TRIES, WAIT_S, TIMEOUT_S = 4, 1.0, (10, 120)  # timeouts: to connect, between two bytes
BLOCK = (32, 512, 512)  # z, y, x: whole cuboids of the service


def open_bossdb(uri: str) -> Source:
    """Open `bossdb://collection/experiment/channel`.

    The service is BossDB's own unless intern's configuration says otherwise (~/.intern/intern.cfg, or
    INTERN_PROTOCOL, INTERN_HOST and INTERN_TOKEN).
    Raises ParameterError for a malformed URI, DataError where the channel is not there or replies are
    damaged, TransientError when the service stays unavailable."""
    parts = uri.removeprefix("bossdb://").strip("/").split("/")
    if len(parts) != 3 or not all(parts):
        raise ParameterError(f"--input {uri}: expected bossdb://collection/experiment/channel")
    collection, experiment, name = parts
    remote = _remote()
    channel = ask(lambda: remote.get_channel(name, collection, experiment), uri)
    frame_name = ask(lambda: remote.get_experiment(collection, experiment).coord_frame, uri)
    frame = ask(lambda: remote.get_coordinate_frame(frame_name), uri)
    start = [int(getattr(frame, f"{a}_start")) for a in "zyx"]
    shape: Any = tuple(int(getattr(frame, f"{a}_stop")) - s for a, s in zip("zyx", start))
    size = [float(getattr(frame, f"{a}_voxel_size")) for a in "zyx"]
    at = placed(size, [str(frame.voxel_unit)] * 3, [n * s for n, s in zip(start, size, strict=True)])

    def read(region: Region) -> np.ndarray:
        inside = [r.indices(n) for r, n in zip(region, shape)]
        bounds = [(s + lo, s + hi) for s, (lo, hi, _) in zip(start, inside)]
        out = np.empty(tuple(hi - lo for lo, hi in bounds), channel.datatype)
        for z, y, x in product(*(_pieces(lo, hi, step) for (lo, hi), step in zip(bounds, BLOCK))):
            place = tuple(slice(a - lo, b - lo) for (a, b), (lo, _) in zip((z, y, x), bounds))
            out[place] = ask(partial(remote.get_cutout, channel, 0, list(x), list(y), list(z)), uri)
        return out

    return Source(uri, "bossdb", shape, np.dtype(channel.datatype), read, at)


def _remote() -> Any:
    try:
        from intern.remote.boss import BossRemote
    except ImportError:
        raise ParameterError("--input bossdb://... needs the package intern: pip install 'voxelmill[bossdb]'") from None
    try:
        remote = BossRemote()
    except OSError:  # neither configuration file nor environment
        remote = BossRemote(PUBLIC)
    for service in (remote.project_service, remote.volume_service):
        service.session_send_opts["timeout"] = TIMEOUT_S
    return remote


def _pieces(low: int, high: int, step: int) -> Iterator[tuple[int, int]]:
    """Divide low..high at the multiples of step."""
    return pairwise([low, *range(low // step * step + step, high, step), high])


def ask(question: Callable[[], T], uri: str) -> T:
    """Ask again, with longer waits, while the service is busy, silent or breaks off."""
    import requests

    for attempt in range(1, TRIES + 1):
        try:
            return question()
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if 400 <= status < 500 and status not in (408, 425, 429):
                raise DataError(
                    f"{uri}: the service answers {status} ({_line(error)}); check collection, "
                    "experiment, channel, cutout and token"
                ) from None
            fault: Exception = TransientError(
                f"{uri}: the service answers {status} after {TRIES} tries; run again with -resume"
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            fault = TransientError(
                f"{uri}: no answer after {TRIES} tries ({_line(error)}); is the network up? Run again with -resume"
            )
        except MemoryError:
            raise
        except Exception as error:  # cut off, not blosc, not JSON: each library has errors of its own
            fault = DataError(
                f"{uri}: damaged reply, {TRIES} times ({_line(error)}); it was cut off, or this is no BossDB service"
            )
        if attempt < TRIES:
            print(f"WARNING [ingest] {uri}: try {attempt} of {TRIES} failed", file=sys.stderr, flush=True)
            time.sleep(WAIT_S * 2 ** (attempt - 1))
    raise fault


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
