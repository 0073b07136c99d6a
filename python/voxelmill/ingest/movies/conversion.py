"""Whether the pixels of a movie can become whole counts: one answer for the whole of it, before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from voxelmill.core.errors import DataError

from .counts import refuse_type
from .fov import has_frames
from .movie import Movie

LEAST_LEVELS = 16  # of grey that rounding must leave of values that are no whole numbers


def check_pixels(movie: Movie, fovs: Sequence[int], channels: Iterable[int]) -> None:
    """uint8 and uint16 pass unread; all else is read through once. Only what is chosen is looked at.

    Raises:
        DataError: another type without `--convert`; NaN or infinite values; values that do not fit; or values that
            rounding would destroy.
    """
    for channel in channels:
        low, high, whole = np.inf, -np.inf, True
        where = f"{movie.path}: channel {channel} ({movie.channel_names[channel]})"
        for fov in (f for f in fovs if has_frames(movie.fovs[f])):
            stored = movie.stored_type(fov, channel)
            refuse_type(stored, movie.convert, where)
            if stored.kind == "u" and stored.itemsize <= 2:
                continue
            for t in range(movie.fovs[fov].n_frames):
                if not movie.recorded(fov, t, channel):
                    continue
                values = movie.read_stored(fov, t, channel) * movie.factor
                seen = movie.acquired(fov, t, channel)
                values = values if seen is None else values[seen]
                if not np.isfinite(values).all():
                    raise DataError(
                        f"{where}: NaN or infinite values in field of view {fov}, frame {t}, cannot be converted to counts; "
                        "replace them first"
                    )
                low, high = min(low, float(values.min())), max(high, float(values.max()))
                whole = whole and bool((values == np.rint(values)).all())
        if low > high:
            continue
        if np.rint(low) < 0 or np.rint(high) > 65535:
            raise DataError(
                f"{where}: values from {low:g} to {high:g} do not fit into uint16; rescale them first, or choose "
                "--convert_factor"
            )
        if not whole and high - low < LEAST_LEVELS:
            factor = 10 ** int(np.floor(np.log10(65535 / max(abs(high), 1e-9))))
            raise DataError(
                f"{where}: values lie from {low:g} to {high:g}, rounding to whole counts would destroy them; give e.g. "
                f"--convert_factor {movie.factor * factor:g}, by which intensities are multiplied then"
            )
