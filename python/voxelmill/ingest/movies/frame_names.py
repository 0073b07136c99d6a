"""What the files of a folder are by their names: field of view, channel, frame and z plane."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np

from voxelmill.core.errors import DataError

from .times import mended

FORMS = (  # of Micro-Manager, and of Opera and Operetta
    re.compile(r"img_(?P<t>\d+)_(?P<c>.*)_(?P<z>\d+)"),
    re.compile(r"img_channel(?P<c>\d+)_position(?P<p>\d+)_time(?P<t>\d+)_z(?P<z>\d+)"),
    re.compile(r"(?P<p>r\d+c\d+f\d+)p(?P<z>\d+)-ch(?P<c>\d+)sk(?P<t>\d+)fk\d+fl\d+"),
)
# a letter or word for an axis, then its number; `w1GFP` carries the name of a channel
TOKEN = re.compile(
    r"(?<![A-Za-z])(?P<axis>time|t|frame|channel|ch|c|w|slice|z|position|pos|p|s|xy|fov)[_-]?(?P<n>\d+)"
    r"((?P<name>(?<=[wW]\d)[A-Za-z][\w ]*?)(?=[_\-. ]|$)|(?=[_\-. ]|$|[A-Za-z]{1,8}\d))",
    re.IGNORECASE,
)
AXIS = {"time": "t", "frame": "t", "ch": "c", "channel": "c", "w": "c", "slice": "z"} | dict.fromkeys(
    ("pos", "position", "s", "xy", "fov"), "p"
)
CHANNEL = re.compile(
    r"phase|^ph\d?$|^pc$|^bf$|bright|trans|dic|[cgyr]fp|cherry|tomato|venus|dsred|dapi|hoechst|fitc|tritc|texas|^cy\d|"
    r"alexa|^[345678]\d\d(nm)?$",
    re.IGNORECASE,
)  # words that name a channel
FOLDER = re.compile(r"(?:time_?point|time|t|frame)[_-]?(\d+)", re.IGNORECASE)  # one that holds the files of a frame
WHEN = re.compile(r"\d+y\d+m\d+d|(\d+d)?\d+h(\d+m)?|(time)?\d+(h|hrs?|min|s|sec|ms)", re.IGNORECASE)  # words for a time
NAMED = "|"  # between number and name of a channel
Place = tuple[str, str, int, int]  # field of view, channel, t, z


def natural(text: str) -> list[Any]:
    """Sort key: `img2` before `img10`."""
    return [int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", text)]


Said = dict[Path, dict[str, str]]  # of each file: axis -> number or name


def places(files: list[Path], root: Path) -> tuple[dict[Path, Place], str]:
    """What each file is by its name and folder, and a note on what was guessed; else frames in natural order, folder by
    folder.

    Raises:
        DataError: most names say what they are, but one does not, or two say the same.
    """
    for form in FORMS:
        said = {file: match.groupdict() for file in files if (match := form.fullmatch(file.stem))}
        if 2 * len(said) > len(files):
            return _checked(said, files, root), ""
    outer = _by_folders(files, root)
    said = {file: outer[file.parent] | told for file in files if (told := _by_tokens(file.stem) or {}) or outer[file.parent]}
    if len(said) == len(files) and _distinct(said, root):
        return _checked(said, files, root), ""
    whole, note = _completed({file: said.get(file, {}) for file in files}, root)
    if whole:
        return _checked(whole, files, root), note
    if 2 * len(said) > len(files) and len({told.get("t") for told in said.values()}) > 1:
        return _checked(said, files, root), ""  # one that says nothing, or the same as another, is refused
    return _in_order(files, said, root)


def _by_folders(files: list[Path], root: Path) -> dict[Path, dict[str, str]]:
    """What folders say: `TimePoint_3` holds a frame, and folders that are all named after channels hold one each."""
    folders = {file.parent for file in files}
    leaves = {folder.name for folder in folders if folder != root}
    channels = len(leaves) > 1 and root not in folders and all(map(CHANNEL.search, leaves))
    found: dict[Path, dict[str, str]] = {}
    for folder in folders:
        told, rest = {}, []
        for name in folder.relative_to(root).parts:
            if (frame := FOLDER.fullmatch(name)) and "t" not in told:
                told["t"] = frame[1]
            elif channels and name == folder.name:
                told["c"] = name
            else:
                rest.append(name)
        found[folder] = told | ({"folder": "/".join(rest)} if told else {})
    return found


def _in_order(files: list[Path], said: Said, root: Path) -> tuple[dict[Path, Place], str]:
    """Frames in natural order: of each channel and field of view for itself, where all names say these, else of each
    folder."""
    told = said if len(said) == len(files) and all("t" not in one for one in said.values()) else {}
    groups: dict[Place, list[Path]] = defaultdict(list)
    for file in files:
        groups[_place(file, told.get(file, {}), root)].append(file)
    if len({len(held) for held in groups.values()}) > 1 and told:
        return _in_order(files, {}, root)
    note = (
        f"The names of the files do not say which frame they are: those of each {' and '.join(_axes_of(told))} are taken in "
        "natural order."
        if told
        else "The names of the files do not say what they are: all are taken for frames of one channel, "
        f"{files[0].name} to {files[-1].name} in natural order."
    )
    laid = {file: (view, c, t, z) for (view, c, _, z), held in groups.items() for t, file in enumerate(held)}
    return laid, note if len(files) > 1 else ""


def _axes_of(said: Said) -> list[str]:
    words = {"c": "channel", "p": "field of view", "z": "z plane"}
    return [word for axis, word in words.items() if any(axis in told for told in said.values())] or ["folder"]


def _view(file: Path, told: dict[str, str], root: Path) -> str:
    folder = str(file.parent.relative_to(root)) if file.parent != root else ""
    return " ".join(word for word in (told.get("folder", folder), told.get("p", "")) if word)


def _place(file: Path, told: dict[str, str], root: Path) -> Place:
    return _view(file, told, root), told.get("c", ""), int(told.get("t", 0)), int(told.get("z", 0))


def _distinct(said: Said, root: Path) -> bool:
    return len({_place(file, told, root) for file, told in said.items()}) == len(said)


def _checked(said: Said, files: Iterable[Path], root: Path) -> dict[Path, Place]:
    """The place of each file, all different."""
    found: dict[Place, Path] = {}
    for file in files:
        if file not in said:
            raise DataError(
                f"{root}: {len(said)} files say by their names what they are, but {file.name} does not; take out what is no "
                "frame of the movie"
            )
        other = found.setdefault(_place(file, said[file], root), file)
        if other != file:
            raise DataError(f"{root}: {other.name} and {file.name} are the same frame by their names; take one out")
    return {file: place for place, file in found.items()}


def _by_tokens(stem: str) -> dict[str, str] | None:
    """Axis -> number (or, of a channel, its name); None where a name says nothing, or the same twice."""
    found: dict[str, str] = {}
    for token in TOKEN.finditer(stem):
        axis = AXIS.get(token["axis"].lower(), token["axis"].lower())
        if axis in found:
            return None
        found[axis] = f"{token['n']}{NAMED}{token['name']}" if token["name"] else token["n"]
    return found or None


STAMPS = (  # a time in a name that can be read in one way only
    re.compile(r"(?<!\d)(?P<Y>\d{4})y(?P<M>\d\d)m(?P<D>\d\d)d_(?P<h>\d\d)h(?P<m>\d\d)m((?P<s>\d\d)s)?(?![a-z0-9])"),
    re.compile(r"(?<!\d)(?P<Y>\d{4})-(?P<M>\d\d)-(?P<D>\d\d)[T_ ](?P<h>\d\d)([-.:])(?P<m>\d\d)\5(?P<s>\d\d)(?!\d)"),
    re.compile(r"(?<![a-z0-9])(?P<d>\d+)d(?P<h>\d\d)h(?P<m>\d\d)m((?P<s>\d\d)s)?(?![a-z0-9])", re.IGNORECASE),
)


def clock(names: dict[int, list[str]]) -> list[float] | None:
    """Minutes of frames by times in the names of their files (frame -> names): a date with a time of day, or days with
    hours and minutes. None unless all names have one of one kind, those of a frame the same, and they can be believed."""
    for form in STAMPS:
        found = {t: {_minutes(m.groupdict()) if (m := form.search(n)) else None for n in held} for t, held in names.items()}
        if not found or any(len(minutes) != 1 or None in minutes for minutes in found.values()):
            continue
        times = [float(minutes.pop() or 0) for _, minutes in sorted(found.items())]
        rising = bool((np.diff(times) > 0).all())
        if len(times) > 1 and (rising or mended(np.array(times)) is not None):
            return times if form is STAMPS[-1] else [one - times[0] for one in times]
    return None


def _minutes(told: dict[str, str | None]) -> float | None:
    """From year 1, or from 0 d; None where there is no such day or time."""
    day, hour, minute, second = (int(told.get(k) or 0) for k in "dhms")
    try:
        if told.get("Y"):
            day = date(*(int(told[k] or 0) for k in "YMD")).toordinal()
        at = time(hour, minute, second)
    except ValueError:
        return None
    return day * 1440 + at.hour * 60 + at.minute + at.second / 60


def channel_name(key: str) -> str:
    """`1|GFP`, as `w1GFP` says it, is GFP; a number is `Channel 1`."""
    name = key.rpartition(NAMED)[2]
    return f"Channel {name or 0}" if name.isdigit() or not name else name


def _completed(said: Said, root: Path) -> tuple[Said, str]:
    """Names that say only a part (`img_001_GFP`, `B02_t3`): the one number that changes is the frame, words that change
    are channels where all of them name one, else fields of view. Nothing where that does not tell all files apart."""
    words = {file: re.split(r"[_\-. ]+", TOKEN.sub("", file.stem) if told else file.stem) for file, told in said.items()}
    words = {file: [word for word in held if word] for file, held in words.items()}
    if len({len(held) for held in words.values()}) > 1:
        return {}, ""
    columns = [column for column in zip(*words.values()) if len(set(column)) > 1]
    numbers = [column for column in columns if all(word.isdecimal() for word in column)]
    if times := [column for column in columns if all(map(WHEN.fullmatch, column))]:  # a day and an hour are one time
        columns = [column for column in columns if column not in times]
        when = [" ".join(row) for row in zip(*times)]
        rank = {word: k for k, word in enumerate(sorted(set(when), key=natural))}
        numbers = [tuple(str(rank[word]) for word in when)]
    others = [" ".join(row) for row in zip(*(column for column in columns if times or column not in numbers))]
    timed = len({told.get("t") for told in said.values()}) > 1
    if len(numbers) > (not timed) or not (timed or numbers) or not (others or any(said.values())):
        return {}, ""
    axis = "c" if all("c" not in told for told in said.values()) and all(map(CHANNEL.search, others)) else "p"
    of = Counter(others)
    if others and 2 * min(of.values()) < max(of.values()):
        return {}, ""
    found: Said = {}
    for k, (file, told) in enumerate(said.items()):
        more = ({"t": numbers[0][k]} if numbers else {}) | ({axis: others[k]} if others else {})
        both = f"{more['p']} {told['p']}" if {"p"} <= more.keys() & told.keys() else more.get("p", told.get("p"))
        found[file] = told | more | ({"p": both} if both else {})
    if not _distinct(found, root):
        return {}, ""
    kind = {"c": "channels", "p": "fields of view"}[axis]
    guessed = [f"the number that changes is the frame ({numbers[0][0]} to {numbers[0][-1]})"] if numbers else []
    if times:
        guessed = [f"frames follow the times in them ({min(rank, key=natural)} to {max(rank, key=natural)})"]
    guessed += [f"{', '.join(sorted(of, key=natural)[:6])} are {kind}"] if others else []
    return found, f"By the names of the files, {' and '.join(guessed)}."
