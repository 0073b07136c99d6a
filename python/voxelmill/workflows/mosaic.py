"""Parameters that the wiring of `mosaic` reads."""

from __future__ import annotations

from ..core.params import Params, param


class Parameters(Params):
    """What is made of raw OCT tiles beside their mosaic grids."""

    generate_slice_config: bool = param(True, "Write slice_config.csv: which slices are used")
    generate_aips: bool = param(False, "Draw the average over depth of each mosaic grid")
    generate_previews: bool = param(False, "Draw three planes at right angles of each mosaic grid")
