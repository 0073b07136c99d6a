"""Items of a task, side by side: `--processes` workers, and the same bytes as one after the other.

    with workers():                                    # stage.call does this
        each(partial(render_shard, source, moves), regions)

What is done with an item must be a function of a module (or a `partial` of one) whose arguments can be pickled;
images and parameters can; what cannot, as an open file, each process opens for itself (`opened`). Items must not
write one file. Without workers `each` is `map`.

Workers are forked before the stage is imported: then there are no threads yet that a fork would lose.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_pools: list[Any] = []
_opened: dict[str, Any] = {}
_closing = ExitStack()


def wanted() -> int:
    """Workers that the task was given: `VOXELMILL_PROCESSES`, which the engine sets."""
    return max(1, int(os.environ.get("VOXELMILL_PROCESSES") or 1))


@contextmanager
def workers() -> Iterator[None]:
    """Have workers at hand, where more than one is wanted; they end with the block, or with this process."""
    if wanted() < 2:
        with _ending():
            yield
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(wanted(), multiprocessing.get_context("fork"), _end_with_parent, (os.getpid(),))
    pool.submit(int).result()  # forks all of them now
    _pools.append(pool)
    with _ending():
        yield


@contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(Exception):  # of a task that has failed: any other has ended by now
            end()


def end() -> None:
    """End the workers; what they used counts as this process's own from now on."""
    close()
    while _pools:
        _pools.pop().shutdown(cancel_futures=True)


def close() -> None:
    """Close what this process has opened; a source that turns out to be cut off says so."""
    _opened.clear()
    _closing.close()


def _close_quietly() -> None:
    with suppress(Exception):  # what is cut off was said where it was read
        close()


def opened(what: str, make: Callable[[], AbstractContextManager[T]]) -> T:
    """What `make` opens, once in each process and not for each item; closed when `run` has returned."""
    if what not in _opened:
        _opened[what] = _closing.enter_context(make())
    return _opened[what]


def each(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` of each item, in the order of the items; as many are in hand as there are workers, and one more.

    Raises what `work` raises; MemoryError where a worker was ended from outside."""
    if not _pools:
        yield from map(work, items)
        return
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    pool, under_way = _pools[-1], deque[Future[R]]()
    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) > wanted():
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise MemoryError("a worker process was ended from outside") from None


def _end_with_parent(parent: int) -> None:
    """A worker closes what it has opened when it ends, and does not outlive a task that is killed (Linux; elsewhere it
    waits for work that never comes)."""
    import ctypes
    import signal
    from multiprocessing.util import Finalize

    Finalize(None, _close_quietly, exitpriority=1)  # workers end without what `atexit` does

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it had ended before
            os._exit(1)
