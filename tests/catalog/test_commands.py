"""What is typed wrong: one line that names it, and the right exit code; nothing is made of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill import cli
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store

FILES = {"braces": "{", "list": "[]", "null": '{"gates": null}', "file": "x", "empty": ""}
BAD = "b" * 64
WRONG = {  # S is the catalogue, G its results, F a folder with FILES
    64: ["archive", "archive nix S", "archive add S", "nix", "release create S --results G", "release create S --tag r3",
         "release create S --results G --from r1 --tag r3", "release create S --results G --tag a/b",
         "release create S --results G --tag current", "release create S --results G --tag r3 --policy F/none",
         "release create S --results G --tag r3 --policy F/braces", "release create S --results G --tag r3 --policy F/list",
         "release create S --results G --tag r3 --policy F/null", "release create S --results G --tag r3 --mask 0,0,0,4,4,4",
         "release create S --from r9 --tag r3", "release create S --from r1 --tag r3 --mask 0,0,0,4,4,4",
         "release create S --from r1 --tag r3 --mask a --reason x", "release show S", "release show S r9",
         "release show S current", "release verify S r9", "release diff S r1", "release diff S r1 r9",
         "release export S r9 --out F/out", "release rollback S r1", "release rollback S r9 --reason x",
         "release withdraw S r9 --reason x", "trace S", "trace S r1:3 --bbox 0,0,0,4,4", "trace S ''", "params diff a b",
         "incident open S --bad x", "slo S --targets F/braces", "slo S --targets F/list", "slo S --prices F/none",
         "serve S --port 70000", "serve S --port -1", "serve S --port x", "serve S --workers 0",
         "serve S --query_seconds 0", "serve S --query_seconds nan",
         "serve S --edit_tokens F/none", "serve S --edit_tokens F/braces", "serve S --host no.such.host.invalid"],
    65: ["archive add S F/empty", "release create S --results G --tag r2", "release create S --from r1 --tag r3",
         "trace S nothing", "trace S r9:3", "trace S 99999999999999999999999", "params diff F/braces F/list",
         "params diff F/list F/list", f"incident open S --bad {BAD} --out F", "incident open S --bad x --out F/out",
         "release export S r1 --out F"],
    74: ["archive add S F/none", "archive add F/file F/file", "archive verify F/none", "release list F",
         "release list F/none", "release create S --results F/none --tag r3",
         "release create S --results F/file --tag r3", "trace F/none x",
         "catalogue rebuild F/none", f"incident open S --bad {BAD} --out F/file", "slo S --out F/file", "serve F/none"],
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, good: Path, bad: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("typed")
    for name, text in FILES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    store = Store(folder / "store", make=True)
    for tag, results in (("r1", good), ("r2", bad)):
        releases.create(store, results, tag)
    return {"S": str(store.root), "G": str(good), "F": str(folder)}


def test_a_reader_that_goes_away(places: dict[str, str]) -> None:
    """As `| head` does: nothing is said, and it is not taken for a fault of a disk."""
    code = f"import sys; from voxelmill.cli import main; sys.exit(main(['release', 'show', {places['S']!r}, 'r1']))"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout and run.stderr
    run.stdout.close()
    assert run.wait(60) == 141 and run.stderr.read() == b""
    run.stderr.close()


@pytest.mark.parametrize(("code", "line"), [(code, line) for code, lines in WRONG.items() for line in lines])
def test_wrong(code: int, line: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["" if w == "''" else places[w[0]] + w[1:] if w[0] in places and w[1:2] in ("", "/") else w for w in line.split()]
    store = Store(Path(places["S"]))
    before = store.events()
    try:
        found = cli.main(words)
    except SystemExit as ended:
        found = ended.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert (found, said.out, said.err.count("\n")) == (code, "", 1) and said.err.startswith("ERROR ["), said
    assert store.events() == before and store.tags() == ["r1", "r2"]


def test_a_disk_that_is_full_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to an open file fails without a name: the catalogue is named."""
    (tmp_path / "a").write_text("x")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert cli.main(["archive", "add", str(tmp_path / "store"), str(tmp_path / "a")]) == 74
    assert f"{tmp_path / 'store'}: No space left on device; free some" in capsys.readouterr().err
