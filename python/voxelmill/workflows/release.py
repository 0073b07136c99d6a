"""Parameters that the wiring of `release` reads."""

from __future__ import annotations

from ..core.params import param
from ..core.shared import Given


class Parameters(Given):
    """Release of results: --input is the --outdir of a run that has ended well."""

    store: str = param("", "Folder of the catalogue; made where there is none")
    policy: str = param("", "Gates that a release must pass, JSON", path=True)
