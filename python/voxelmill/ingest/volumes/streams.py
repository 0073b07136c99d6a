"""Arrays in files that can only be read from the front; and one error for whatever is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...core.errors import DataError, VoxelmillError
from ...core.volume import Region


@contextlib.contextmanager
def whole(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library raises over a damaged file becomes a DataError that names it."""
    try:
        yield
    except (VoxelmillError, MemoryError, PermissionError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name}: not a whole {kind} ({text or type(error).__name__}); copy it again") from None


def check_size(path: Path, shape: tuple[int, ...], dtype: np.dtype, most: float) -> None:
    claimed = float(np.prod([float(n) for n in shape])) * dtype.itemsize
    if claimed > most:
        raise DataError(
            f"{path.name}: the header claims {shape} {dtype}, {claimed:.0f} bytes; there can be "
            f"{most:.0f} at most. It was cut off or damaged; copy it again"
        )


class Forward:
    """A C-ordered array in a compressed stream: z slabs in ascending order; going back starts anew.

    One slab is held, so that a slab read piece by piece is decoded once."""

    def __init__(self, start: Callable[[], IO[bytes]], shape: tuple[int, ...], dtype: np.dtype, path: Path):
        self._start, self._path, self.dtype = start, path, dtype
        self.shape: Any = shape
        self._file: IO[bytes] | None = None
        self._z, self._at = 0, (0, 0)
        self._held = np.empty((0, *shape[1:]), dtype)

    def read(self, region: Region) -> np.ndarray:
        z0, z1, _ = region[0].indices(self.shape[0])
        with whole(self._path, "file"):
            if self._at != (z0, z1):
                self._held = self._held[:0].copy()  # the old slab goes before the new one is made
                if self._file is None or z0 < self._z:
                    self._file, self._z = self._start(), 0
                self._skip((z0 - self._z) * int(np.prod(self.shape[1:])) * self.dtype.itemsize)
                self._held = self._take(z1 - z0)
                self._at, self._z = (z0, z1), z1
        return self._held[:, region[1], region[2]]

    def finish(self) -> None:
        """Read to the end, where the checksum stands. Raises DataError when it is wrong."""
        with whole(self._path, "file"):
            while self._file is not None and self._file.read(2**20):
                pass

    def _skip(self, count: int) -> None:
        assert self._file is not None
        while count:
            got = len(self._file.read(min(count, 2**20)))
            if not got:
                raise DataError(f"{self._path.name}: ends too early; copy it again")
            count -= got

    def _take(self, sections: int) -> np.ndarray:
        out = np.empty((sections, *self.shape[1:]), self.dtype)
        view, done = out.reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            got = self._file.readinto(view[done : done + 2**20])  # type: ignore[union-attr]
            if not got:
                raise DataError(f"{self._path.name}: ends too early; copy it again")
            done += got
        return out
