"""Plug-ins: Python files in a folder that add features, preprocessors and methods.

Every `*.py` below the folder whose name does not begin with "_" is one plug-in. What it may hold, with `stem`
the file's name without ".py":

    kind          function, or class                           gives
    feature       extract_stem(ctx)                            one number for one cell in one frame
                  extract_stem(image, mask, context)           the same
    preprocessor  class with process(self, image),             a frame (y, x) of the same shape
                  or preprocess_stem(image)
    segmentation  segment_stem(image)                          labels (y, x), integers, 0 = background
    tracking      track_stem(labels)                           tracked labels (t, y, x), integers
    background    estimate_stem(image, labels)                 background (y, x), counts
    fit           fit_stem(hours, rate=0.1, height=100.0)      the model's signal (n,) at `hours` (n,); the values are where
                                                               its parameters start from

`PLUGIN_NAME` (default: the stem), `PLUGIN_TYPE` (the kind; default: read off the function's name) and, for
features, `PLUGIN_FEATURE_TYPE` ("phase", "fluorescence"; default: both) are module constants. The
registration lines of the seed, `PHASE_FEATURES[name] = function` and
`workflow.register_preprocessor(object)`, work as they stand there.

A plug-in is tried on a small example when it is loaded, so that a broken one is found before the first field
of view is. Plug-ins run with the rights of the user: put only code into the folder that you trust.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParameterError

PREFIXES = {
    "feature": "extract",
    "preprocessor": "preprocess",
    "segmentation": "segment",
    "tracking": "track",
    "background": "estimate",
    "fit": "fit",
}
ARGUMENTS = {"feature": (1, 3), "preprocessor": (1,), "segmentation": (1,), "tracking": (1,), "background": (2,), "fit": (1,)}
FEATURE_TYPES = ("phase", "fluorescence")


class PluginError(ParameterError):
    """A plug-in that cannot be loaded, or that failed; the message begins with its name and file."""


@dataclass(frozen=True, slots=True)
class FeatureContext:
    """What a feature plug-in is given: the crop of one cell in one frame.

    image: float32 (y, x), counts.
    mask: bool (y, x), the cell.
    background: float32 (y, x), counts; zeros where the channel has none.
    background_weight: 0-1, to multiply the background by.
    erosion_size: side in px of the square the mask may be eroded with; 0 = none. `mask` is not eroded.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    background: NDArray[np.float32]
    background_weight: float = 1.0
    erosion_size: int = 0


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plug-in; calling it calls its function and checks what comes back.

    name: how it is chosen, e.g. in a list of features or as --segmentation_method.
    kind: a key of `PREFIXES`.
    feature_types: of a feature, the channels it is for; otherwise empty.
    """

    name: str
    kind: str
    path: Path
    function: Callable[..., Any]
    feature_types: tuple[str, ...] = ()

    def __call__(self, *arguments: Any) -> Any:
        """Run the plug-in: `FeatureContext` -> float; image -> image; image -> labels; and so on.

        Raises:
            PluginError: the plug-in raised, or its result is not what its kind gives.
        """
        if self.kind == "feature" and _n_arguments(self.function) == 3:
            (ctx,) = arguments
            arguments = (ctx.image, ctx.mask, ctx)
        try:
            result = self.function(*arguments)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self}: raised {type(error).__name__}: {error}; mend the file or take it out of the folder"
            ) from error
        return _check_result(self, result, np.shape(getattr(arguments[0], "image", arguments[0])))

    def __str__(self) -> str:
        return f"plug-in {self.name!r} ({self.path})"


def load_plugins(folder: str | Path) -> list[Plugin]:
    """All plug-ins below `folder`, in order of file name, each tried on an example.

    Raises:
        ParameterError: the folder is not there.
        PluginError: a plug-in is broken, or two have one name and kind.
    """
    plugins: dict[tuple[str, str], Plugin] = {}
    for path in plugin_files(folder):
        for plugin in load_file(path):
            other = plugins.setdefault((plugin.kind, plugin.name), plugin)
            if other is not plugin:
                raise PluginError(f"{plugin}: {other.path} has the same name; change PLUGIN_NAME in one")
    return list(plugins.values())


def list_plugins(folder: str | Path) -> list[tuple[Path, list[Plugin], str]]:
    """For each file below `folder`: path, plug-ins in it, and what is wrong with it ("" if nothing)."""
    rows: list[tuple[Path, list[Plugin], str]] = []
    for path in plugin_files(folder):
        try:
            rows.append((path, load_file(path), ""))
        except PluginError as error:
            rows.append((path, [], str(error)))
    return rows


def plugin_files(folder: str | Path) -> list[Path]:
    """The files below `folder` that are plug-ins, sorted.

    Raises:
        ParameterError: the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ParameterError(f"plug-in folder {folder} is not there; make it, or leave --plugins out")
    return sorted(p for p in folder.rglob("*.py") if not p.name.startswith("_"))


def find(plugins: Iterable[Plugin], kind: str, name: str) -> Plugin | None:
    """The plug-in of that kind and name, or None."""
    return next((p for p in plugins if (p.kind, p.name) == (kind, name)), None)


def the_plugin(added: list[Plugin], kind: str, name: str) -> Callable[..., Any]:
    """The plug-in of that kind and name, or the only one of its kind.

    Raises ParameterError that says what there is."""
    these = {plugin.name: plugin for plugin in added if plugin.kind == kind}
    if not name and len(these) == 1:
        return next(iter(these.values()))
    if name not in these:
        raise ParameterError(
            f"--{kind}_plugin {name!r}: the folder of --plugins has {', '.join(these) or 'none'} of "
            f"this kind; give the folder and one of their names"
        )
    return these[name]


def load_file(path: str | Path) -> list[Plugin]:
    """Load one file and try what it holds on an example; most files hold one plug-in.

    Raises:
        PluginError: it cannot be run, holds no plug-in, or fails on the example.
    """
    path = Path(path)
    module, registered = _execute(path)
    plugins = [*_declared(module, path, registered), *registered]
    if not plugins:
        wanted = ", ".join(f"{p}_{path.stem}" for p in PREFIXES.values())
        raise _broken(
            path, f"found no plug-in in it; expected one of the functions {wanted}, or a class with process(self, image)"
        )
    for plugin in plugins:
        counts = ARGUMENTS[plugin.kind]
        if _n_arguments(plugin.function) not in counts:
            raise PluginError(
                f"{plugin}: its function takes {_n_arguments(plugin.function)} arguments, "
                f"expected {' or '.join(map(str, counts))}"
            )
        plugin(*_example(plugin.kind))
    return plugins


def _broken(path: Path, what: str) -> PluginError:
    return PluginError(f"plug-in {path.stem!r} ({path}): {what}")


def _execute(path: Path) -> tuple[ModuleType, list[Plugin]]:
    """Run the file as a module. It is compiled here, so no __pycache__ appears in the user's folder."""
    module = ModuleType(f"voxelmill_plugins.{path.stem}")
    module.__file__ = str(path)
    registries: dict[str, dict[str, Callable]] = {kind: {} for kind in FEATURE_TYPES}
    preprocessors: list[Any] = []
    module.__dict__.update(
        PHASE_FEATURES=registries["phase"],
        FLUORESCENCE_FEATURES=registries["fluorescence"],
        workflow=SimpleNamespace(register_preprocessor=preprocessors.append),
    )
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise _broken(path, f"line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise _broken(path, f"raised {type(error).__name__} while it was loaded: {error}") from error
    registered = [
        Plugin(name, "feature", path, function, (kind,))
        for kind, features in registries.items()
        for name, function in features.items()
    ]
    registered += [Plugin(type(p).__name__, "preprocessor", path, _method(p, path)) for p in preprocessors]
    return module, registered


def _method(thing: Any, path: Path) -> Callable[..., Any]:
    process = getattr(thing, "process", None)
    if not callable(process):
        raise _broken(path, f"{type(thing).__name__} has no method process(self, image)")
    return process


def _declared(module: ModuleType, path: Path, registered: list[Plugin]) -> list[Plugin]:
    """The plug-in that the file's constants and function names declare: none or one."""
    own = vars(module)
    kind = own.get("PLUGIN_TYPE")
    if kind is not None and kind not in PREFIXES:
        raise _broken(path, f"PLUGIN_TYPE is {kind!r}, expected one of {', '.join(PREFIXES)}")
    kinds = [kind] if kind else list(PREFIXES)
    taken = {plugin.function for plugin in registered}
    for kind in kinds:
        names = [f"{PREFIXES[kind]}_{path.stem}"] + [PREFIXES[kind]] * (kind != "feature")
        function = next((own[n] for n in names if inspect.isfunction(own.get(n))), None)
        if function is None and kind == "preprocessor" and not any(p.kind == kind for p in registered):
            function = _preprocessor_class(module, path)
        if function is not None and function not in taken:
            return [
                Plugin(
                    str(own.get("PLUGIN_NAME", path.stem)),
                    kind,
                    path,
                    function,
                    _feature_types(own, path) if kind == "feature" else (),
                )
            ]
        if own.get("PLUGIN_TYPE") and function is None:
            raise _broken(path, f"PLUGIN_TYPE is {kind!r}, but there is no function {names[0]}")
    return []


def _preprocessor_class(module: ModuleType, path: Path) -> Callable[..., Any] | None:
    for thing in vars(module).values():
        if inspect.isclass(thing) and thing.__module__ == module.__name__ and hasattr(thing, "process"):
            try:
                return _method(thing(), path)
            except TypeError as error:
                raise _broken(path, f"{thing.__name__}() needs arguments ({error})") from error
    return None


def _feature_types(own: dict[str, Any], path: Path) -> tuple[str, ...]:
    found = own.get("PLUGIN_FEATURE_TYPE")
    if found is None:
        return FEATURE_TYPES
    if found not in FEATURE_TYPES:
        raise _broken(path, f"PLUGIN_FEATURE_TYPE is {found!r}, expected one of {', '.join(FEATURE_TYPES)}")
    return (found,)


def _n_arguments(function: Callable[..., Any]) -> int:
    """Number of positional arguments that must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def _example(kind: str) -> tuple[Any, ...]:
    """Arguments for a trial: a bright disk on a darker, sloping background."""
    y, x = np.mgrid[:24, :24].astype(np.float32)
    mask = (y - 12) ** 2 + (x - 11) ** 2 < 36
    background = 100 + y
    image = background + 500 * mask
    counts, labels = image.astype(np.uint16), mask.astype(np.uint16)
    return {
        "feature": (FeatureContext(image, mask, background),),
        "preprocessor": (counts,),
        "segmentation": (counts,),
        "tracking": (np.stack([labels, labels]),),
        "background": (counts, labels),
        "fit": (np.linspace(0, 6, 24),),
    }[kind]


def _check_result(plugin: Plugin, result: Any, shape: tuple[int, ...]) -> Any:
    """The result, if it is what the plug-in's kind has to give."""
    if plugin.kind == "feature":
        if np.ndim(result) or not isinstance(result, (int, float, np.number, np.bool_)):
            raise PluginError(f"{plugin}: gave {type(result).__name__}, expected one number")
        return float(result)
    result = np.asarray(result)
    if result.shape != shape:
        raise PluginError(f"{plugin}: gave an array of shape {result.shape}, expected {shape}")
    if plugin.kind in ("segmentation", "tracking"):
        if result.dtype.kind not in "ui" or (result.dtype.kind == "i" and result.size and result.min() < 0):
            raise PluginError(f"{plugin}: gave {result.dtype}, expected labels: integers, 0 = background")
        return result.astype(np.uint32)
    if result.dtype.kind not in "uif" or not np.isfinite(result).all():
        raise PluginError(
            f"{plugin}: gave {result.dtype} with NaN or infinite values, or no numbers; expected finite numbers"
        )
    return result.astype(np.float32) if plugin.kind == "background" else result
