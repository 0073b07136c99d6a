"""Where a chunked store lies: a folder, a zip, a web server, a bucket. Its keys are read through TensorStore.

| given as | needs |
|---|---|
| a folder | |
| a zip (`.zip`, `.ozx`), the store at its root or in one folder there | |
| `http://`, `https://`, a query (`?token=...`) goes with each request | |
| `s3://bucket/path` | the AWS configuration, where there is one (`AWS_PROFILE`, `AWS_ENDPOINT_URL`, ...) |
| `gs://bucket/path` | Google's default credentials, where there are any |
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ...core.errors import DataError, ParameterError, StorageError, TransientError, VoxelmillError
from ...core.files import plain
from ...core.metadata import MOST_METADATA
from ...core.volume import context, first_line

SCHEMES = ("http://", "https://", "s3://", "gs://")
PATIENCE = {"max_retries": 4, "initial_delay": "500ms", "max_delay": "4s"}  # with a server
PASSING = ("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True)
class KvStore:
    """A tree of keys, as TensorStore opens it; `inside` is the path below what the user gave."""

    name: str
    spec: dict[str, Any]
    listed: bool = True  # no web server lists what it has, and no bucket but all of its keys
    inside: str = ""

    @classmethod
    def of(cls, place: Path | str, name: str) -> KvStore:
        """The store in a folder or zip (a path), or behind a URL with one of SCHEMES."""
        if isinstance(place, Path):
            if place.is_dir():  # a path and no URL: that would decode %20
                return cls(name, {"driver": "file", "path": f"{plain(place.resolve())}/"})
            return cls._zip(name, {"driver": "file", "path": plain(place.resolve())})
        scheme, _, rest = place.partition("://")
        rest, mark, query = rest.partition("?") if scheme.startswith("http") else (rest, "", "")
        host, _, path = rest.strip("/").partition("/")
        if path.lower().endswith((".zip", ".ozx")):
            folder, _, file = f"{host}/{path}".rpartition("/")
            base = cls.of(f"{scheme}://{folder}{mark}{query}", name).spec
            return cls._zip(name, {**base, "path": base["path"] + (unquote(file) if base["driver"] == "http" else file)})
        path = f"{path}/" if path else ""
        if scheme.startswith("http"):
            refuse_link_local(host, name)
            # An address has its escapes; TensorStore wants what they stand for.
            return cls(
                name, {"driver": "http", "base_url": f"{scheme}://{host}{mark}{query}", "path": f"/{unquote(path)}"}, False
            )
        if scheme == "gs":
            return cls(name, {"driver": "gcs", "bucket": host, "path": path}, False)
        return cls(name, {"driver": "s3", "bucket": host, "path": path, **_aws()}, False)

    @classmethod
    def _zip(cls, name: str, base: dict[str, Any]) -> KvStore:
        """Inside a zip: its root, or the one folder there."""
        root = cls(name, {"driver": "zip", "base": base, "path": ""})
        entries = [e for e in root.entries() if e not in ("__MACOSX/", ".DS_Store")]
        return root / entries[0] if len(entries) == 1 and entries[0].endswith("/") else root

    @property
    def remote(self) -> bool:
        return self.spec.get("base", self.spec)["driver"] != "file"

    def __truediv__(self, sub: str) -> KvStore:
        """The part of the store below a path."""
        sub = sub.strip("/")
        if not sub or sub == ".":
            return self
        spec = {**self.spec, "path": f"{self.spec['path']}{sub}/"}
        return replace(self, spec=spec, inside=posixpath.join(self.inside, sub))

    @property
    def above(self) -> KvStore | None:
        """What it lies in, within what the user gave."""
        outer, _, last = self.inside.rpartition("/")
        spec = {**self.spec, "path": self.spec["path"].removesuffix(f"{last}/")}
        return replace(self, spec=spec, inside=outer) if last else None

    def __str__(self) -> str:
        return posixpath.join(self.name, self.inside) if self.inside else self.name

    def read(self, key: str) -> bytes | None:
        """The bytes under a key; None where there are none."""
        try:
            found = self._open().read(key).result()
        except ValueError as error:
            if self.remote and str(error).startswith("PERMISSION_DENIED"):
                return None  # what S3 says of a key that is not there to who may not list
            raise refused(str(self), f"{key} cannot be read", error) from None
        return found.value if found.state == "value" else None

    def json(self, key: str) -> dict[str, Any] | None:
        """The JSON object under a key; None where there is none. Raises DataError where it is something else."""
        text = self.read(key)
        if text is None:
            return None
        try:
            if len(text) > MOST_METADATA:
                raise TypeError(f"{len(text)} bytes of metadata; expected under {MOST_METADATA}")
            found = json.loads(text)
            if not isinstance(found, dict):
                raise TypeError(f"a {type(found).__name__} where an object is expected")
        except (UnicodeDecodeError, json.JSONDecodeError, TypeError, RecursionError) as error:
            raise DataError(f"{self}/{key}: not readable as metadata ({error}); write it again") from None
        return found

    def entries(self) -> Iterator[str]:
        """Names of files and folders (ending in `/`) at the top, where they can be listed; each once."""
        driver = self.spec["driver"]
        if driver == "file":
            for entry in (
                sorted(os.scandir(self.spec["path"]), key=lambda e: e.name) if os.path.isdir(self.spec["path"]) else ()
            ):
                yield f"{entry.name}/" if entry.is_dir() else entry.name
        elif self.listed:
            seen = set()
            try:
                keys = self._open().list().result()
            except ValueError as error:
                raise refused(str(self), "cannot be listed", error) from None
            for key in sorted(keys):
                head, slash, _ = key.decode(errors="replace").partition("/")
                if head and head + slash not in seen:
                    seen.add(head + slash)
                    yield head + slash

    def opened(self, driver: str, **more: Any) -> Any:
        """The array in this store by a driver of TensorStore. Raises DataError where it cannot be used."""
        import tensorstore as ts

        retries = {f"{kind}_request_retries": PATIENCE for kind in ("http", "s3", "gcs")} if self.remote else {}
        spec = {"driver": driver, "kvstore": self.spec, "context": retries, **more}
        try:
            return ts.open(spec, open=True, context=context()).result()
        except (ValueError, NotImplementedError) as error:
            raise refused(str(self), f"cannot be opened as {driver.split('_')[-1]}", error) from None

    def _open(self) -> Any:
        import tensorstore as ts

        if not self.remote:
            return ts.KvStore.open(self.spec, context=context()).result()
        patient = ts.Context({f"{kind}_request_retries": PATIENCE for kind in ("http", "s3", "gcs")}, context())
        return ts.KvStore.open(self.spec, context=patient).result()


def refuse_link_local(host: str, name: str) -> None:
    """Where clouds hand out the credentials of a machine (169.254.169.254 and its like), however the address is written.

    Raises ParameterError: data lie elsewhere."""
    import ipaddress
    import socket
    from urllib.parse import urlsplit

    try:
        found = {info[4][0] for info in socket.getaddrinfo(urlsplit(f"http://{host}").hostname, None)}
    except (OSError, ValueError):
        return  # that there is no such server is said where it is asked
    for address in map(ipaddress.ip_address, (str(one).partition("%")[0] for one in found)):
        if (getattr(address, "ipv4_mapped", None) or address).is_link_local:
            raise ParameterError(f"{name}: {host} is {address}, link-local, where no data lie; expected a server of data")


def refused(name: str, what: str, error: Exception) -> VoxelmillError:
    """A server that does not answer may do so later; anything else is bad data."""
    text = first_line(error)
    if "ignored by server" in text:
        return StorageError(
            f"{name}: {what}: the server does not give parts of a file, which shards need; take another server"
        )
    if strange := re.search(r'"([^"]*)" is not registered|(filters) are not supported', text):
        return DataError(f"{name}: {what}: {strange[1] or strange[2]} not read here; write it again with gzip, Blosc or Zstd")
    if text.startswith(PASSING):
        return TransientError(f"{name}: {what}: {text}; is the address right? Else run again with -resume")
    if text.startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
        return StorageError(f"{name}: {what}: {text}; it needs credentials, or the server hides what is not there")
    return DataError(f"{name}: {what}: {text}; the source is damaged, or is not what its name says")


def _aws() -> dict[str, Any]:
    """Endpoint, region and credentials as the AWS tools take them; anonymous where nothing is configured."""
    env = os.environ
    found: dict[str, Any] = {}
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if endpoint:
        found |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
    elif region:
        found["aws_region"] = region
    names = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
             "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")  # fmt: skip
    if not any(env.get(name) for name in names) and not (Path.home() / ".aws").exists():
        found["aws_credentials"] = {"type": "anonymous"}
    return found
