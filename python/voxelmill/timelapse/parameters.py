"""Parameters that several stages of `timelapse` share."""

from __future__ import annotations

from ..core.params import Params, param


class Copying(Params):
    """How far a run goes."""

    copy_only: bool = param(False, "Stop when the chosen channels are copied")


class Crops(Params):
    """Movies of single cells."""

    crops: bool = param(
        True, "Write cells.zarr, a movie of every cell; false spares its many small files", profiles={"minimal": False}
    )


class Views(Params):
    """Quick looks."""

    view_level: bool = param(
        True, "Write level 1 of every channel and crop: uint8, half the size", profiles={"minimal": False}
    )
