"""Lineage: one SQLite graph of artifacts and tasks, made from the records of all releases, and made again at will.

    artifact --used--> task --generated--> artifact         forward: what is affected; backward: where it comes from

Parameters, models and code count as artifacts that tasks use, so that a bad model is traced as a bad file is.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError, StorageError
from . import limits
from .manifests import manifest_of, release_of, status
from .store import NotThere, Store, read_log, reading

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE artifacts (digest TEXT PRIMARY KEY, kind TEXT, name TEXT, bytes INTEGER) WITHOUT ROWID;
CREATE TABLE tasks (id TEXT PRIMARY KEY, stage TEXT, block TEXT, run TEXT, task_hash TEXT, started TEXT, ended TEXT,
    host TEXT, wall_s REAL, cpu_s REAL, memory INTEGER, bytes_in INTEGER, bytes_out INTEGER, device TEXT, code_version TEXT,
    commit_id TEXT, params TEXT, quality TEXT, left_out TEXT) WITHOUT ROWID;
CREATE TABLE used (artifact TEXT, task TEXT, PRIMARY KEY (artifact, task)) WITHOUT ROWID;
CREATE TABLE generated (artifact TEXT, task TEXT, PRIMARY KEY (artifact, task)) WITHOUT ROWID;
CREATE TABLE parts (part TEXT, whole TEXT, PRIMARY KEY (part, whole)) WITHOUT ROWID;
CREATE TABLE releases (tag TEXT PRIMARY KEY, id TEXT, seq INTEGER, status TEXT) WITHOUT ROWID;
CREATE TABLE held (tag TEXT, task TEXT, PRIMARY KEY (tag, task)) WITHOUT ROWID;
CREATE TABLE files (tag TEXT, path TEXT, sha256 TEXT, artifact TEXT, PRIMARY KEY (tag, path)) WITHOUT ROWID;
CREATE INDEX task_used ON used (task); CREATE INDEX task_generated ON generated (task);
CREATE INDEX whole_parts ON parts (whole); CREATE INDEX task_held ON held (task);
CREATE INDEX files_artifact ON files (artifact); CREATE INDEX files_sha256 ON files (sha256);
"""


# What SQLite says of a file that is damaged: so it is, or no database, or lacks a table.
STEPS = 20_000  # of SQLite's machine between two looks at the clock: about a millisecond
AGAIN = "`voxelmill catalogue rebuild` makes it again"
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def refresh(store: Store) -> None:
    """Bring the catalogue up to date; under the lock. What it knows of a release does not change: only new ones are read."""
    try:
        _refresh(store)
    except Damaged:
        store.catalogue.unlink()
        _refresh(store)


def _refresh(store: Store) -> None:
    with opened(store.catalogue) as con:
        known = {tag for (tag,) in con.execute("SELECT tag FROM releases")}
        con.execute("BEGIN IMMEDIATE")
        _sources(con, store)
        for tag in store.tags():
            if tag not in known:
                _release(con, store, tag)
        _states(con, store)
        con.execute("COMMIT")


def rebuild(store: Store) -> dict[str, int]:
    """Make the catalogue from nothing but archive, releases and log; the old one is there until the new one is whole."""
    with store.lock("catalogue rebuild"), store.staging() as staging:
        made = staging / "catalogue.sqlite"
        with opened(made) as con:
            _make(con, store)
            counts = {t: con.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("artifacts", "tasks", "releases")}
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.rename(store.catalogue)
    return counts


def _make(con: sqlite3.Connection, store: Store) -> None:
    con.execute("BEGIN")
    _sources(con, store)
    for tag in store.tags():
        _release(con, store, tag)
    _states(con, store)
    con.execute("COMMIT")


def damage(store: Store) -> str:
    """Whether the catalogue says what archive, releases and log say, row by row; empty if so, or where there is none yet."""
    if not store.catalogue.exists() or _stale(store):  # the next who asks brings it up to date
        return ""
    names = [line.split()[2] for line in TABLES.split("\n") if line.startswith("CREATE TABLE")]
    with opened(Path(":memory:")) as con:
        _make(con, store)
        con.execute("ATTACH ? AS kept", (f"file:{urllib.parse.quote(str(store.catalogue.absolute()))}?mode=ro",))
        try:
            for name in names:
                for a, b in ((f"main.{name}", f"kept.{name}"), (f"kept.{name}", f"main.{name}")):
                    if con.execute(f"SELECT 1 FROM (SELECT * FROM {a} EXCEPT SELECT * FROM {b}) LIMIT 1").fetchone():
                        return f"{name}: rows that are not those of archive and releases; {AGAIN}"
            found = con.execute("PRAGMA kept.integrity_check(1)").fetchone()[0]  # indices, too
            return "" if found == "ok" else f"{' '.join(found.split())}; {AGAIN}"
        except sqlite3.DatabaseError as error:
            return f"{error}; {AGAIN}"


class Damaged(DataError):
    """A catalogue that is not as it was written: all of it can be made again."""


class opened:
    """A connection that is closed at the end; the tables are made where there are none."""

    def __init__(self, path: Path, read_only: bool = False):
        mode = "ro" if read_only else "rwc"
        self.path, self.read_only = path, read_only
        where = f"file:{urllib.parse.quote(str(path))}?mode={mode}" if str(path) != ":memory:" else ":memory:"
        self.con = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
        if read_only:
            self.con.set_progress_handler(lambda: limits.left() < 0, STEPS)

    def __enter__(self) -> sqlite3.Connection:
        try:
            if not self.con.execute("SELECT 1 FROM sqlite_master WHERE name = 'releases'").fetchone():
                if self.read_only:
                    raise Damaged(f"{self.path}: no tables in it; {AGAIN}")
                self.con.executescript("BEGIN;" + TABLES + "COMMIT;")
        except (sqlite3.DatabaseError, Damaged) as error:
            self.__exit__(None, error)
            raise
        return self.con

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        """Raises Damaged for what SQLite says of a damaged file, TooLong where it was stopped, StorageError for the rest."""
        self.con.close()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise limits.TooLong from None
        if isinstance(error, sqlite3.DatabaseError):
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE:
                raise Damaged(f"{self.path}: {error}; {AGAIN}") from None
            raise StorageError(f"{self.path}: {error}") from None


def current(store: Store) -> opened:
    """The catalogue to read, brought up to date where a writer died before it could.

    Raises DataError where there is none and none can be made."""
    if not store.catalogue.exists() or _stale(store):
        with store.lock("catalogue refresh"):
            refresh(store)
    return opened(store.catalogue, read_only=True)


def _stale(store: Store) -> bool:
    with opened(store.catalogue, read_only=True) as con:
        row = con.execute("SELECT value FROM meta WHERE key = 'events'").fetchone()
    return row is None or row[0] != str(len(store.events()))


def _sources(con: sqlite3.Connection, store: Store) -> None:
    rows = [(row["sha256"], "source", row["name"], row["size"]) for row in read_log(store.sources)]
    con.executemany("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)", rows)
    folders = {name: digest for digest, _, name, _ in rows if name.endswith("/")}
    parts = [(digest, folders[top]) for digest, _, name, _ in rows if (top := f"{name.partition('/')[0]}/") in folders]
    con.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?)", [pair for pair in parts if pair[0] != pair[1]])


def _states(con: sqlite3.Connection, store: Store) -> None:
    for tag, state in status(store).items():
        facts = release_of(store, tag)
        con.execute("INSERT OR REPLACE INTO releases VALUES (?, ?, ?, ?)", (tag, facts["id"], facts["seq"], state))
    con.execute("INSERT OR REPLACE INTO meta VALUES ('events', ?)", (str(len(store.events())),))


def _release(con: sqlite3.Connection, store: Store, tag: str) -> None:
    held, folder = manifest_of(store, tag), store.release(tag) / "files"
    for name, (size, sha256, _) in held["files"].items():
        if name.startswith("provenance/") and size:
            with reading(folder / name):
                add_record(con, json.loads((folder / name).read_text()), sha256, tag)
    rows = {row["path"]: row["digest"] for row in held["published"]}
    kinds = {row["digest"]: row["kind"] for row in held["published"]}
    con.executemany("UPDATE artifacts SET kind = ? WHERE digest = ? AND kind = 'file'", [(k, d) for d, k in kinds.items()])

    def whole(name: str) -> str:
        parts = name.removesuffix(".manifest.json").split("/")
        return next((rows[p] for n in range(len(parts), 0, -1) if (p := "/".join(parts[:n])) in rows), "")

    con.executemany(
        "INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)",
        ((tag, name, sha256, whole(name) or sha256) for name, (_, sha256, _) in held["files"].items()),
    )


def add_record(con: sqlite3.Connection, record: dict[str, Any], digest: str, tag: str) -> None:
    """A task's record; `digest`, of the record itself, names the task."""
    columns = (
        "stage",
        "block",
        "run_id",
        "task_hash",
        "start",
        "end",
        "host",
        "wall_s",
        "cpu_s",
        "peak_memory_bytes",
        "bytes_in",
        "bytes_out",
        "device",
        "code_version",
        "commit",
    )
    nested = [json.dumps(record.get(name, {}), sort_keys=True) for name in ("params", "quality", "left_out")]
    con.execute(
        f"INSERT OR IGNORE INTO tasks VALUES ({', '.join('?' * 19)})", (digest, *(record.get(c) for c in columns), *nested)
    )
    con.execute("INSERT OR IGNORE INTO held VALUES (?, ?)", (tag, digest))
    tools = [
        (record["params_hash"], "parameters", record["stage"], len(nested[0])),
        (record["stage_code"], "code", record["stage"], 0),
        *((m["sha256"], "model", m.get("name", "model"), m.get("bytes", 0)) for m in record.get("models", [])),
    ]
    named = [(i["digest"], "file", i["name"], i["bytes"]) for i in [*record["inputs"], *record["outputs"]]]
    con.executemany(
        "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?)",
        [*(t for t in tools if t[0]), *named, (digest, "record", record["stage"], 0)],
    )
    con.executemany(
        "INSERT OR IGNORE INTO used VALUES (?, ?)",
        [*((i["digest"], digest) for i in record["inputs"]), *((t[0], digest) for t in tools if t[0])],
    )
    con.executemany(
        "INSERT OR IGNORE INTO generated VALUES (?, ?)",
        [*((o["digest"], digest) for o in record["outputs"]), (digest, digest)],
    )
    for items in (record["inputs"], record["outputs"]):
        wholes = {item["name"]: item["digest"] for item in items}
        con.executemany(
            "INSERT OR IGNORE INTO parts VALUES (?, ?)",
            [(i["digest"], wholes[i["in"]]) for i in items if i.get("in") in wholes],
        )


def find(con: sqlite3.Connection, store: Store, artifact: str, disk: bool = True) -> list[str]:
    """Digests that a word names: a digest or the beginning of one (8 signs at least), `TAG:PATH` or a path of a release
    (the current one first), the name of an archived source, or (not for whom a server answers) a file or folder on disk.

    Raises DataError where nothing is known by it, or several are."""
    word = artifact.lower()
    if len(word) >= 8 and set(word) <= set("0123456789abcdef"):
        rows = [
            d
            for (d,) in con.execute(
                "SELECT digest FROM artifacts WHERE digest >= ? AND digest < ? LIMIT 9", (word, word + "g")
            )
        ]
        rows += [
            a
            for (a,) in con.execute(
                "SELECT DISTINCT artifact FROM files WHERE sha256 >= ? AND sha256 < ? LIMIT 9", (word, word + "g")
            )
        ]
        if len(set(rows)) > 1 and len(word) < 64:
            raise NotThere(f"{artifact}: {len(set(rows))} digests begin so; give more of it")
        if rows:
            return sorted(set(rows))
    tag, _, path = artifact.rpartition(":")
    order = [tag] if tag else list(dict.fromkeys([store.current() or "", *reversed(store.tags())]))
    for one in order:
        # A store is no file: it is known by the files in it.
        found = con.execute(
            "SELECT DISTINCT artifact FROM files WHERE tag = ? AND (path = ? OR (path > ? AND path < ?))",
            (one, path, f"{path}/", f"{path}0"),
        ).fetchall()
        if found:
            return sorted(digest for (digest,) in found)
    # A folder of the archive is itself, and each file in it.
    named = "kind IN ('source', 'model') AND name = ? OR kind = 'source' AND name >= ? AND name < ?"
    inside = (f"{artifact.rstrip('/')}/", f"{artifact.rstrip('/')}0")
    rows = [d for (d,) in con.execute(f"SELECT digest FROM artifacts WHERE {named}", (artifact, *inside))]
    if not rows and disk and _on_disk(Path(artifact)):
        from ..core import manifest

        digest = manifest.digest_of(Path(artifact))
        rows = [d for (d,) in con.execute("SELECT digest FROM artifacts WHERE digest = ?", (digest,))]
    if not rows:
        raise NotThere(f"{artifact}: nothing in the catalogue is known by this digest, path or name")
    return rows


def _on_disk(path: Path) -> bool:
    """Whether there is a plain file or a folder of this name, which may be none."""
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


# Within each release by itself: the same bytes may have been made twice, and only one maker be bad.
FORWARD = """
WITH RECURSIVE reached (tag, artifact) AS (
    SELECT r.tag, s.value FROM releases r, json_each(?) s {tag}
    UNION SELECT r.tag, g.artifact FROM reached r JOIN used u ON u.artifact = r.artifact
        JOIN held h ON h.tag = r.tag AND h.task = u.task JOIN generated g ON g.task = u.task WHERE 1 {task}
    UNION SELECT r.tag, p.whole FROM reached r JOIN parts p ON p.part = r.artifact
) SELECT tag, artifact FROM reached"""
BACKWARD = """
WITH RECURSIVE reached (tag, artifact) AS (
    SELECT r.tag, s.value FROM releases r, json_each(?) s {tag}
    UNION SELECT r.tag, u.artifact FROM reached r JOIN generated g ON g.artifact = r.artifact
        JOIN held h ON h.tag = r.tag AND h.task = g.task JOIN used u ON u.task = g.task WHERE 1 {task}
    UNION SELECT r.tag, p.whole FROM reached r JOIN parts p ON p.part = r.artifact
) SELECT tag, artifact FROM reached"""


# Stages whose output is their input, or the input of this name, in another form, for people and viewers: who says the one
# means the other, too.
PUBLISHERS = {
    **dict.fromkeys(("multiscale", "publish_volume", "publish_fovs", "make_levels", "join_levels"), "*"),
    "export_labels": "components*",
}


def behind(con: sqlite3.Connection, start: Sequence[str]) -> list[str]:
    """Artifacts, and where one is published only, and nothing goes on from it, what it was published from."""
    rows = con.execute(
        """SELECT DISTINCT u.artifact FROM json_each(?) s JOIN generated g ON g.artifact = s.value
        JOIN tasks t ON t.id = g.task JOIN json_each(?) p ON p.key = t.stage JOIN used u ON u.task = t.id
        JOIN artifacts a ON a.digest = u.artifact AND a.kind NOT IN ('parameters', 'code', 'model') AND a.name GLOB p.value
        WHERE NOT EXISTS (SELECT 1 FROM used WHERE artifact = s.value)""",
        (json.dumps(list(start)), json.dumps(PUBLISHERS)),
    )
    return sorted({*start, *(digest for (digest,) in rows)})


def trace(
    con: sqlite3.Connection, start: Sequence[str], forward: bool, tasks: Sequence[str] | None = None, tag: str = ""
) -> dict[str, Any]:
    """Everything that artifacts have gone into (forward) or come from: artifacts, tasks, files of releases.

    Args:
        tasks: only by way of these tasks.
        tag: only within this release.
    """
    given: list[str] = [json.dumps(list(start))]
    only = ("", "", "")
    if tag:
        given.append(tag)
    if tasks is not None:
        given.append(json.dumps(list(tasks)))
        only = (
            "AND u.task IN (SELECT value FROM json_each(?))",
            "AND g.task IN (SELECT value FROM json_each(?))",
            "AND t.id IN (SELECT value FROM json_each(?))",
        )
    query = (FORWARD if forward else BACKWARD).format(task=only[0 if forward else 1], tag="WHERE r.tag = ?" if tag else "")
    con.execute(
        "CREATE TEMP TABLE IF NOT EXISTS reached (tag TEXT, artifact TEXT, PRIMARY KEY (tag, artifact)) WITHOUT ROWID"
    )
    con.execute("DELETE FROM reached")
    con.execute(f"INSERT OR IGNORE INTO reached {query}", given)

    def rows(text: str, values: Sequence[str] = ()) -> list[dict[str, Any]]:
        cursor = con.execute(text, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    side = "used" if forward else "generated"
    found: dict[str, Any] = {
        "artifacts": rows(
            "SELECT DISTINCT a.* FROM artifacts a JOIN reached r ON r.artifact = a.digest WHERE a.kind != 'record' "
            "ORDER BY a.kind, a.name, a.digest"
        ),
        "tasks": rows(
            "SELECT DISTINCT t.id, t.stage, t.block, t.run, t.started FROM reached r "
            f"JOIN {side} s ON s.artifact = r.artifact JOIN held h ON h.tag = r.tag AND h.task = s.task "
            f"JOIN tasks t ON t.id = s.task WHERE 1 {only[2]} ORDER BY t.started, t.id",
            given[-1:] if tasks is not None else (),
        ),
        "files": rows(
            "SELECT f.tag, f.path, f.sha256, f.artifact FROM files f "
            "JOIN reached r ON r.tag = f.tag AND r.artifact = f.artifact ORDER BY f.tag, f.path"
        ),
    }
    return {**found, "releases": sorted({file["tag"] for file in found["files"]})}


def parameter_sets(con: sqlite3.Connection) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(hash, stage, values) of each set of parameters that a task was run with."""
    rows = con.execute(
        "SELECT a.digest, t.stage, min(t.params) FROM artifacts a JOIN used u ON u.artifact = a.digest "
        "JOIN tasks t ON t.id = u.task WHERE a.kind = 'parameters' GROUP BY a.digest ORDER BY t.stage"
    )
    return ((digest, stage, json.loads(params)) for digest, stage, params in rows)
