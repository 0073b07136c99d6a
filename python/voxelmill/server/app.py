"""`voxelmill serve`: queries, volumes by ranges of bytes, pages. Reads only, on this machine only unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from .. import __version__
from ..catalog.store import Store
from ..core.errors import DataError, ParameterError, StorageError
from ..proofreading.edits import Conflict, Gone
from . import api, data, edits, pages, view
from .context import Context, Missing
from .guard import Guard, Tokens

SAID = "Releases of microscope volumes: queries and files."
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create(root: Path, tokens: Path | None = None, hosts: Sequence[str] = LOOPBACK, origins: Sequence[str] = ()) -> Any:
    """The application over a catalogue. Raises StorageError where there is none."""
    app = FastAPI(title="Voxelmill", version=__version__, description=SAID, docs_url=None, redoc_url=None)
    app.state.context, app.state.tokens = Context(Store(root)), Tokens(tokens)
    app.state.editors = {}
    app.include_router(api.router)
    app.include_router(data.router)
    app.include_router(edits.router)
    app.include_router(view.router)
    app.include_router(pages.router)  # `/docs` is ours: FastAPI's loads scripts from elsewhere
    if (neuroglancer := view.client()) is not None:
        app.mount("/v/view", view.Client(directory=neuroglancer, html=True))
    for kind, code in (
        (Missing, 404),
        (Conflict, 409),
        (Gone, 410),
        (ParameterError, 400),
        (DataError, 503),
        (StorageError, 503),
        (OSError, 503),
    ):
        app.add_exception_handler(kind, _say(code))
    app.add_exception_handler(edits.Refused, edits.refused)
    app.add_middleware(Guard, hosts=hosts, origins=origins, noted=view.NOTED)
    return app


def _say(code: int) -> Any:
    def handler(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error).split())}, code)

    return handler
