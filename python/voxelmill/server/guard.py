"""Who may ask: hosts and origins on a list, small requests, hashed tokens with roles. Plain ASGI: it costs nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from ..catalog import limits
from ..core.errors import ParameterError

LARGEST = 2 << 20  # bytes of a request's body
HOST = re.compile(r"\[?([^\]]*?)\]?(:[0-9]*)?")  # a name, or an address of IPv6 in brackets; a port
ROLES = ("viewer", "proofreader", "admin")
Scope = MutableMapping[str, Any]
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY")]
SHARED = "/data/"  # what pages of any origin may read, and why they may not
CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"Range"),
    (b"access-control-expose-headers", b"Content-Range, Content-Length, ETag"),
]


class Guard:
    """Refuses hosts and origins that are not on the list (DNS rebinding, forged requests) and bodies that are too large."""

    def __init__(self, app: Any, hosts: Iterable[str], origins: Iterable[str] = (), noted: Iterable[str] = ()):
        """`noted`: paths that take what they are sent and do nothing with it, whatever type it says it is."""
        self.app, self.hosts, self.origins, self.noted = app, set(hosts), set(origins), set(noted)

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        why = self.refused(scope, headers)
        if why:
            await answer(send, *why)
            return
        size = 0
        headers_of = HEADERS + (CORS if scope["path"].startswith(SHARED) else [])

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST:
                raise TooLarge
            return message

        async def with_headers(message: Any) -> None:
            if size > LARGEST:  # whatever the application made of it
                if message["type"] == "http.response.start":
                    await answer(send, 413, f"a request may hold {LARGEST} bytes")
                return
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *headers_of]}
            await send(message)

        await self.app(scope, counted, with_headers)

    def refused(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = HOST.fullmatch(headers.get(b"host", b"").decode("latin-1"))
        if host is None or host[1] not in self.hosts:
            return 403, "this host name is not on the server's list; see --allow_host"
        origin = headers.get(b"origin")
        own = origin is None or origin.decode("latin-1") in self.origins or self._here(origin, headers)
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not own:
                return 403, "pages of other origins may not send here"
            said = headers.get(b"content-type", b"").split(b";")[0].strip()
            # Of methods that are none here (405) nothing is read; where nothing is sent, nothing is done.
            empty = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
            if scope["method"] == "POST" and not empty and said != b"application/json" and scope["path"] not in self.noted:
                return 415, "expected application/json"
            if not headers.get(b"content-length", b"0").isdigit() or int(headers.get(b"content-length", b"0")) > LARGEST:
                return 413, f"a request may hold {LARGEST} bytes"
        if b"token=" in scope.get("query_string", b""):
            return 400, "a token does not belong into an address; send it as Authorization: Bearer"
        return None

    def _here(self, origin: bytes, headers: dict[bytes, bytes]) -> bool:
        return origin.split(b"//")[-1] == headers.get(b"host")


class Head:
    """Answers HEAD as GET, without the body. Files answer it themselves: theirs is not read for nothing."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(SHARED):
            await self.app(scope, receive, send)
            return
        ended = False

        async def bare(message: Any) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
            elif not ended:  # the end, whatever comes on: what never ends sees that nobody listens
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, receive, bare)


class Patience:
    """Answers 503 where no answer has begun after so many seconds; what works at it still is told to end (`limits.check`).

    An answer that has begun, as of a large file, takes as long as it takes."""

    def __init__(self, app: Any, seconds: float):
        self.app, self.seconds = app, seconds

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False
        late: list[asyncio.Task[None]] = []

        async def once(message: Any) -> None:
            nonlocal begun
            if not late:
                begun = True
                await send(message)

        def expire() -> None:
            if not begun:
                why = f"took longer than {self.seconds:g} s; ask for less, or send an edit again with its key"
                late.append(loop.create_task(answer(send, 503, why)))

        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.seconds, expire)
        set_before = limits.ENDS.set(time.monotonic() + self.seconds)
        try:
            await self.app(scope, receive, once)
        finally:
            timer.cancel()
            limits.ENDS.reset(set_before)
            await asyncio.gather(*late)


class TooLarge(ValueError):
    """Ends the reading of a body."""


async def answer(send: Callable[[Any], Awaitable[None]], code: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Tokens:
    """Edit tokens: a JSON file of `{"tokens": [{"name", "sha256", "role", "expires"}]}`; only digests are kept.

    Without a file nobody may edit."""

    def __init__(self, path: Path | None):
        """Raises ParameterError for a file that is none, or that others can read."""
        self.rows: list[dict[str, Any]] = []
        if path is None:
            return
        try:
            if path.stat().st_mode & 0o077:
                raise PermissionError("others can read it; chmod 600 it")
            self.rows = json.loads(path.read_text())["tokens"]
            for row in self.rows:
                if row["role"] not in ROLES or len(bytes.fromhex(row["sha256"])) != 32 or not row["name"]:
                    raise ValueError(f"token {row.get('name')!r}")
                float(row.get("expires", 0))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ParameterError(
                f"--edit_tokens {path}: {error}; expected a list `tokens` of name, sha256 of the token, role "
                f"({', '.join(ROLES)}) and optionally expires (seconds since 1970)"
            ) from None

    @staticmethod
    def digest(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    def who(self, header: str | None) -> dict[str, Any] | None:
        """The row of a bearer token, compared in constant time; None for none, a wrong or an expired one."""
        scheme, _, token = (header or "").partition(" ")
        given = self.digest(token)
        found = None
        for row in self.rows:
            if hmac.compare_digest(given, row["sha256"]) and scheme.lower() == "bearer":
                found = row
        return None if found is None or 0 < float(found.get("expires", 0)) < time.time() else found
