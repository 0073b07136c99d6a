"""Samples: the traces of several fields of view, merged.

    samples:
      - name: control
        fovs: "0-5,7"
      - name: treated
        fovs: "6,8-11"

gives `{sample}_{feature}_ch_{channel}.csv` for every feature column, with the line `# Time units: min`, the
header `time,fov,cell,value`, and the rows that are good. Where somebody has looked through the traces
(`*_traces_inspected.csv`), those are taken in place of `*_traces.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxelmill.core import tables
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.movies.ranges import parse_range

NEEDED = ("time", "fov", "cell", "good")
FEATURE = re.compile(r".+_ch_\d+")
MOST_FOVS = 1_000_000  # bounds the ranges of a file that is read without its movie
GOOD = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": False}


@dataclass(frozen=True, slots=True)
class Sample:
    """name: part of the file names; fovs: ascending indices."""

    name: str
    fovs: tuple[int, ...]


def read_samples(path: str | Path, n_fovs: int | None = None) -> list[Sample]:
    """The samples of a YAML file, checked.

    Args:
        path: the file.
        n_fovs: number of fields of view of the movie; None = not checked here, but when merging.

    Raises:
        ParameterError: not of the form above; a name that is empty, used twice or no file name; a field of
            view that is not there, or that two samples share.
    """
    import yaml

    try:
        # text as it is written: in YAML a name 010 is 8, 12:30 is 750, and yes is true
        content = yaml.BaseLoader(Path(path).read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}); check --samples") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    try:
        return parse_samples(content, n_fovs)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from error


def parse_samples(content: Any, n_fovs: int | None = None) -> list[Sample]:
    """As `read_samples`, from the content of the file."""
    entries = content.get("samples") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ParameterError('expected "samples:" with a list of {name, fovs}')
    samples: list[Sample] = []
    owner: dict[int, str] = {}
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or set(entry) != {"name", "fovs"}:
            raise ParameterError(f"sample {i}: found {entry!r}, expected exactly name and fovs")
        name = str(entry["name"]).strip()
        if not re.fullmatch(r"[\w][\w .+-]*", name):
            raise ParameterError(f"sample {i}: {name!r} cannot be part of a file name; use letters, digits, _ and -")
        if name.casefold() in (other.casefold() for other in owner.values()):  # files of one name, on some disks
            raise ParameterError(
                f"two samples are called {name!r}, or so but for capitals: one file on some disks; rename one"
            )
        fovs = _fovs(entry["fovs"], name, n_fovs)
        for fov in fovs:
            if fov in owner:
                raise ParameterError(
                    f"field of view {fov} is in {owner[fov]!r} and in {name!r}; each may be in one sample only"
                )
            owner[fov] = name
        samples.append(Sample(name, tuple(fovs)))
    return samples


def _fovs(spec: Any, name: str, n_fovs: int | None) -> list[int]:
    """Indices from "0-5,7", 3, "all" or [0, 2]."""
    text = ",".join(map(str, spec)) if isinstance(spec, list) else str(spec)
    if not text.strip():
        raise ParameterError(f'sample {name!r}: fovs is empty; expected e.g. "0-5,7" or "all"')
    if n_fovs is None and text.strip() in ("all", "-1"):
        raise ParameterError(f'sample {name!r}: fovs {text!r} needs a known number; expected e.g. "0-5,7"')
    return parse_range(text, MOST_FOVS if n_fovs is None else n_fovs, f"sample {name!r}: field of view")


def find_traces(folder: str | Path, more: Sequence[Path] = ()) -> dict[int, Path]:
    """Trace tables below `folder`, and `more` of them, by field of view; an inspected one is preferred.

    Raises:
        DataError: two tables for one field of view.
    """
    found: dict[int, Path] = {}
    for ending in ("_traces_inspected.csv", "_traces.csv"):
        this: dict[int, Path] = {}
        below = sorted(Path(folder).glob(f"fov_*/*{ending}")) + sorted(Path(folder).glob(f"*{ending}"))
        for path in (*below, *more):
            match = re.search(r"_?fov_(\d+)" + re.escape(ending) + "$", path.name)
            if not match:
                continue
            other = this.setdefault(int(match[1]), path)
            if other != path:
                raise DataError(f"field of view {int(match[1])} has two tables, {other} and {path}; remove one")
        found = this | found
    return dict(sorted(found.items()))


def merge(samples: Sequence[Sample], traces: dict[int, Path], folder: str | Path) -> list[Path]:
    """Write the merged tables of all samples into `folder`; one field of view is in memory at a time.

    Args:
        samples: from `read_samples`.
        traces: table of each field of view, from `find_traces`.

    Returns:
        The files written.

    Raises:
        ParameterError: a field of view has no table.
        DataError: a table lacks a column, or has other features than the first of its sample.
    """
    folder = Path(folder)
    for sample in samples:  # all is checked before anything is written
        missing = [fov for fov in sample.fovs if fov not in traces]
        if missing:
            raise ParameterError(
                f"sample {sample.name!r}: no traces for field of view {missing[0]}; there "
                f"are traces for {', '.join(map(str, traces)) or 'none'}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return [path for sample in samples for path in _merge_one(sample, traces, folder)]


def _merge_one(sample: Sample, traces: dict[int, Path], folder: Path) -> list[Path]:
    with open(traces[sample.fovs[0]], encoding="utf-8-sig", newline="") as first:
        columns, _ = tables.parse(first, str(traces[sample.fovs[0]]), NEEDED)
    features = sorted(c for c in columns if FEATURE.fullmatch(c))
    paths = [folder / f"{sample.name}_{feature}.csv" for feature in features]
    partial = [path.with_name(path.name + ".partial") for path in paths]
    files = [open(path, "w", encoding="utf-8", newline="") for path in partial]  # noqa: SIM115 (closed below)
    try:
        for file in files:
            file.write("# Time units: min\ntime,fov,cell,value\n")
        for fov in sample.fovs:
            with open(traces[fov], encoding="utf-8-sig", newline="") as source:
                columns, rows = tables.parse(source, str(traces[fov]), NEEDED)
                if sorted(c for c in columns if FEATURE.fullmatch(c)) != features:
                    raise DataError(
                        f"{traces[fov]}: other features than {traces[sample.fovs[0]]}; extract both with the same features"
                    )
                for line, row in rows:
                    where = f"{traces[fov]}, line {line}"
                    if is_good(row["good"], where):
                        for feature, file in zip(features, files):
                            require_numbers([row["time"], row["fov"], row["cell"], row[feature] or "nan"], where)
                            file.write(f"{row['time']},{row['fov']},{row['cell']},{row[feature]}\n")
    except BaseException:
        for file, path in zip(files, partial):
            file.close()
            path.unlink(missing_ok=True)
        raise
    for file, path, final in zip(files, partial, paths):
        file.close()
        path.replace(final)
    return paths


def is_good(text: str, where: str) -> bool:
    """Raises DataError for what is neither yes nor no: a spreadsheet writes TRUE in its own language."""
    found = GOOD.get(text.strip().lower())
    if found is None:
        raise DataError(f"{where}: good is {text!r}; expected true or false")
    return found


def require_numbers(cells: Sequence[str], where: str) -> None:
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            raise DataError(f"{where}: {cell!r}; expected a number") from None
