"""Fit traces: models of expression fitted to the fluorescence of every kept cell, as a table and a figure.

fits/{base}_fov_000_fits.csv    one row per cell, channel and model: parameters, R2, what is doubtful
figures/fov_000_5_fits          traces with their fits, cells of the best to the worst fit
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..core.errors import ParameterError
from ..core.params import param
from ..core.pictures import save_both
from ..core.plugins import Plugin, PluginError, find, load_plugins
from ..core.provenance import Task
from ..core.shared import Extensions, Strict
from ..core.stage import In, OutFiles
from ..postprocess.fits import MODELS, Fit, Model, Rates, built_in, own
from ..postprocess.traces import Table, read_csv, traces_name, write_csv
from ..timelapse.store import Facts, each_fov, fov_name, fovs_in
from .figures import Figures

COLUMNS = ("fov", "cell", "trace", "model", "r_squared")
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
SHOWN = 12  # cells of a figure
WEAK = 0.5  # R2 below which a fit is called poor


class Fitting(Extensions, Strict):
    """Fits to traces."""

    fit: tuple[str, ...] = param(
        (), "Models fitted to the fluorescence of each kept cell: maturation, translation, decay, or those of --plugins"
    )
    fit_feature: str = param("intensity_total", "Feature that models are fitted to; one of --fl_features")
    fit_maturation: float = param(1.28, "Rate at which the fluorophore matures", unit="1/h", gt=0, le=1000)
    fit_protein_decay: float = param(0.00522, "Rate at which the protein is lost", unit="1/h", gt=0, le=1000)


class Parameters(Figures, Fitting):
    """Fits to traces."""


def models_of(p: Fitting, added: list[Plugin]) -> dict[str, Model]:
    """The models of --fit by name. Raises ParameterError for one that is not known, or cannot be in the table."""
    rates, found = Rates(p.fit_protein_decay, p.fit_maturation), {}
    ours = {plugin.name: plugin for plugin in added if plugin.kind == "fit"}
    if taken := set(ours) & set(MODELS):
        raise PluginError(f"{ours[min(taken)]}: a built-in model has this name; change PLUGIN_NAME")
    for name in p.fit:
        plugin = find(added, "fit", name)
        if plugin is None and name not in MODELS:
            raise ParameterError(f"--fit {name!r} is not known; there are {', '.join([*MODELS, *ours])}")
        if plugin is None:
            found[name] = built_in(name, rates)
            continue
        try:
            found[name] = own(plugin.function)
        except (TypeError, ValueError):
            raise PluginError(f"{plugin}: it needs parameters after hours, each with a number that it starts from") from None
        if same := set(found[name].names) & {*COLUMNS, "note"}:
            raise PluginError(f"{plugin}: a parameter is called {min(same)!r} as is a column of the table; rename it")
    return found


def check_fits(p: Fitting, features: list[str], fluorescence: list[int], added: list[Plugin]) -> None:
    """Raise ParameterError for models that are not known, and where there is nothing to fit them to."""
    if not models_of(p, added):
        return
    if not fluorescence:
        raise ParameterError("--fit needs fluorescence traces; give --fl_channels")
    if p.fit_feature not in features:
        raise ParameterError(f"--fit_feature {p.fit_feature!r} is not measured; --fl_features gives {', '.join(features)}")


def run(
    p: Parameters,
    task: Task,
    *,
    traces: In,
    facts: In,
    batch: str,
    plugins: In | None = None,
    output: OutFiles,
    figures: OutFiles,
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    known, models = Facts.read(facts), models_of(p, load_plugins(plugins) if plugins else [])
    for folder in (output, figures):
        folder.mkdir(parents=True, exist_ok=True)

    def work(fov: int) -> dict[str, Any]:
        found = read_csv(traces / fov_name(fov) / traces_name(known.base, fov))
        fits = fits_of(models, found, [f"{p.fit_feature}_ch_{c}" for c in known.fluorescence])
        write_csv(output / f"{known.base}_{fov_name(fov)}_fits.csv", table_of(models, fov, fits))
        if fits:
            save_both(fit_figure(found, fits, f"Field of view {fov}"), figures / f"{fov_name(fov)}_5_fits", p.figure_dpi)
        return {"fits": len(fits), **counted(fits)}

    each_fov(task, known, fovs_in(traces), work, output=output)


Row = tuple[int, str, str, Fit]  # cell, column, model, fit


def fits_of(models: dict[str, Model], traces: Table, columns: list[str]) -> list[Row]:
    """Every cell, column and model."""
    fits = []
    for cell in np.unique(traces["cell"]).tolist():
        rows = traces["cell"] == cell
        hours = traces["time"][rows] / 60
        for column in columns:
            fits += [(cell, column, name, model.fit(hours, traces[column][rows])) for name, model in models.items()]
    return fits


def counted(fits: list[Row]) -> dict[str, Any]:
    """Figures for the record: what is good, and what is not and why."""
    done = [one for *_, one in fits if one.parameters]
    whys = Counter(one.note for *_, one in fits if not one.parameters)
    return {
        "median_r_squared": round(float(np.median([one.r_squared for one in done])), 3) if done else None,
        "poor_fits": sum(one.r_squared < WEAK for one in done),
        "not_determined": sum(bool(one.note) for one in done),
        "not_fitted": len(fits) - len(done),
        "not_fitted_mostly": whys.most_common(1)[0][0] if whys else "",
    }


def table_of(models: dict[str, Model], fov: int, fits: list[Row]) -> Table:
    """One row per fit; parameters that a model does not have are NaN."""
    names = list(dict.fromkeys(name for model in models.values() for name in model.names))
    values = (
        np.full(len(fits), fov, np.int64),
        np.array([cell for cell, *_ in fits], np.int64),
        np.array([column for _, column, _, _ in fits], str),
        np.array([model for _, _, model, _ in fits], str),
        np.array([one.r_squared for *_, one in fits], float),
    )
    return {
        **dict(zip(COLUMNS, values)),
        **{n: np.array([one.parameters.get(n, np.nan) for *_, one in fits], float) for n in names},
        "note": np.array([one.note for *_, one in fits], str),
    }


def fit_figure(traces: Table, fits: list[Row], which: str) -> Any:
    """Traces as dots and fits as lines: cells from the best fit to the worst, evenly chosen."""
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys((cell, column) for cell, column, *_ in fits))
    score = {key: max(np.nan_to_num(one.r_squared, nan=-9) for c, k, _, one in fits if (c, k) == key) for key in panels}
    order = sorted(panels, key=lambda key: -score[key])
    shown = [order[k] for k in np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(max(2.6 * columns, 5.2), 2.0 * rows + 0.6), squeeze=False, layout="constrained"
    )
    names = dict.fromkeys(model for _, _, model, _ in fits)
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}
    for axis, (cell, column) in zip(axes.flat, shown):
        mine = traces["cell"] == cell
        hours = traces["time"][mine] / 60
        axis.plot(hours, traces[column][mine], ".", color="0.6", markersize=3)
        for _, _, model, one in (f for f in fits if f[:2] == (cell, column)):
            said = f"{model}, R² {one.r_squared:.2f}" if one.parameters else f"{model}: {one.note}"
            axis.plot(hours, one.fitted, color=colours[model], linewidth=1.2, label=said)
        axis.set_title(f"cell {cell}, {column}", fontsize=7)
        axis.legend(fontsize=6, frameon=False)
        axis.tick_params(labelsize=6)
        axis.yaxis.get_offset_text().set_fontsize(6)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    figure.supxlabel("time, h", fontsize=8)
    figure.supylabel("counts", fontsize=8)
    figure.suptitle(f"{which}: {len(shown)} of {len(order)} traces, from the best fit to the worst", fontsize=9)
    return figure
