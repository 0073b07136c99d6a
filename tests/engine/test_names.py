"""What users and files call things is never executed, taken for a pattern, or lost: any name will do.

Raw OCT tiles and `reconstruct` run in such folders in tests/test_slices_to_volume.py."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ODD, SMALL, odd_folder, unharmed
from voxelmill.core.stage import Stage, split
from voxelmill.testing.engine import PROJECT, run

MODULES = sorted((PROJECT / "modules").rglob("*.nf"))
# Values of our own making; what a process gets as `path` has a plain name, see stageable() in workflows/inputs.nf.
OURS = {
    *("flags", "role", "name", "meta.block", "meta.id", "meta.slice", "place", "blocks"),
    *("filesOf", "task.memory", "toMega", "placeOf", "meta.batch"),
    *("folder", "subject"),  # words of workflows; letters, digits, _ . + - only: subjectOf() in workflows/reconstruct.nf
    *("manual", "manual.join"),  # names of pairs, which transformsIn() in workflows/inputs.nf has looked at
}


def unescaped(module: str) -> list[str]:
    """What a script interpolates that may be a user's words, or that stands between quotes, where escapes end."""
    inputs, rest = module.split("input:")[1].split("output:")
    allowed = OURS | set(re.findall(r"path\(?\s*(\w+)", inputs))
    outer = r"\$\{((?:[^{}]|\{[^{}]*\})*)\}"

    def foreign(one: str) -> list[str]:
        parts = [re.sub(r"\"[^\"]*\"|'[^']*'", "", one), *re.findall(outer, one)]
        words = {word for part in parts for word in re.findall(r"[a-zA-Z_][\w.]*", part)}
        return [word for word in words - allowed if re.sub(r"\.(join|tokenize)$", "", word) not in allowed]

    found = []
    for name, value in re.findall(r"^ +def (\w+) = (.*)$", rest, re.M):
        found += foreign(value)
        allowed.add(name)
    for script in re.findall(r'"""(.*?)"""', rest, re.S):
        found += [word for one in re.findall(outer, script) for word in foreign(one)]
        found += re.findall(r"'[^'\n]*\0[^'\n]*'|\"[^\"\n]*\0[^\"\n]*\"", re.sub(outer, "\0", script))
    return found


def test_no_module_puts_words_of_a_user_into_its_script():
    assert len(MODULES) > 30
    assert {m.name: unescaped(m.read_text()) for m in MODULES if unescaped(m.read_text())} == {}


@pytest.mark.parametrize("raw", ["--title '${title}'", "--title ${title}", "--title '${figures}'", "--title ${meta.name}"])
def test_a_module_that_does_is_found(raw: str):
    text = (PROJECT / "modules/serving/report.nf").read_text()
    assert unescaped(text.replace("report.py ${flags}", f"report.py ${{flags}} {raw}", 1))


def test_no_path_of_a_user_is_taken_for_a_pattern():
    """`file()` and `channel.fromPath` expand *, ?, [ and {; paths are made by localPath() of workflows/inputs.nf."""
    for script in (PROJECT / "main.nf", *MODULES, *sorted((PROJECT / "workflows").glob("*.nf"))):
        calls = re.findall(r"(?<![\w.])(?:file|files|channel\.fromPath|Channel\.fromPath)\(.*", script.read_text())
        assert [call for call in calls if "glob: false" not in call] == [], script


def test_an_input_that_could_not_be_linked_is_found(tmp_path: Path):
    (tmp_path / "x.pointer").write_text(f"/data/{ODD}/a.tif", encoding="utf-8")
    pointer = str(tmp_path / "x.pointer")
    _, files = split(Stage("ingest.inspect_movie"), ["--source", pointer, "--facts", "f", "--batch_list", "b"])
    assert files["source"] == Path(f"/data/{ODD}/a.tif")
    _, files = split(Stage("ingest.ingest"), ["--source", pointer, "--block_list", "f", "--slab_list", "b"])
    assert files["source"] == Path(f"/data/{ODD}/a.tif")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    return odd_folder(tmp_path)


@pytest.mark.slow
def test_connectome_with_odd_names(odd: Path, tmp_path: Path, phantom: Path):
    """Input and truth, a folder of sections and a file; results in a folder of such a name."""
    import numpy as np
    import tifffile

    (odd / "raw '$(touch PWNED)").mkdir()
    for z, section in enumerate(np.load(phantom / "raw.npy")[:8]):
        tifffile.imwrite(odd / "raw '$(touch PWNED)" / f"z {z} '$(touch PWNED)'.tif", section)
    np.save(odd / "-truth [x]%20.npy", np.load(phantom / "truth.npy")[:8])
    words = ("--input", odd / "raw '$(touch PWNED)", "--truth", odd / "-truth [x]%20.npy", *SMALL)
    done = run(*words, folder=tmp_path / "run", outdir=odd / "out $(touch PWNED)", env={"NXF_SYNTAX_PARSER": "v2"})
    assert done.code == 0, done.said
    assert unharmed(tmp_path)
    for name in ("report.html", "tables/score.json", "volumes/aligned.ome.zarr/0/zarr.json", "runs.sqlite"):
        assert (done.outdir / name).exists(), name
    assert len(list((done.outdir / "pipeline_info").iterdir())) == 4
    assert "it&#x27;s [1] {a} *ü $(touch PWNED)" in (done.outdir / "report.html").read_text()


@pytest.mark.slow
def test_timelapse_with_odd_names(odd: Path, tmp_path: Path, movie_file: Path):
    """Movie, plug-ins, samples and tables that somebody has looked through."""
    movie = odd / "a'$(touch PWNED)'.ome.tif"
    shutil.copy(movie_file, movie)
    (odd / "plugins $(touch PWNED)").mkdir()
    (odd / "plugins $(touch PWNED)/brightest.py").write_text(
        "def extract_brightest(image, mask, context):\n    return float(image[mask].max())\n"
    )
    (odd / "samples '$(touch PWNED).yaml").write_text("samples:\n- {name: all, fovs: 0-1}\n")
    out = odd / "out $(touch PWNED)"
    words = ("--workflow", "timelapse", "--input", movie, "--pc_channel", 0, "--fl_channels", 1, "--min_frames", 3)
    words += ("--plugins", odd / "plugins $(touch PWNED)", "--samples", odd / "samples '$(touch PWNED).yaml")
    words += ("--fl_features", "intensity_total,brightest", "--border_margin", 2, "--report_plots", "false")
    looked = out / "fov_000/a__(touch PWNED)__fov_000_traces_inspected.csv"
    looked.parent.mkdir(parents=True)
    looked.write_text("time,fov,cell,good,area_ch_0,aspect_ratio_ch_0,brightest_ch_1,intensity_total_ch_1\n")
    done = run(*words, folder=tmp_path / "run", outdir=out)
    assert done.code == 0, done.said
    assert ",0," not in (out / "merged/all_area_ch_0.csv").read_text()
    (traces,) = (out / "fov_000").glob("*_traces.csv")
    assert traces.name == "a__(touch PWNED)__fov_000_traces.csv"
    looked.write_text(traces.read_text())
    again = run(*words, "-resume", folder=tmp_path / "run", outdir=out)
    assert again.code == 0, again.said
    assert ",0," in (out / "merged/all_area_ch_0.csv").read_text()
    assert again.tasks("COMPLETED") == {"MERGE_SAMPLES": 1, "SUMMARIZE": 1, "REPORT": 1}
    assert json.loads((out / "provenance/inspect_movie.provenance.json").read_text())["inputs"][0]["path"] == str(movie)
    assert unharmed(tmp_path)


@pytest.mark.slow
def test_mosaic_with_odd_names(odd: Path, tmp_path: Path):
    """Folder, tiles and table of positions."""
    import csv

    from voxelmill.testing.mosaics import mosaic, write_tiles

    made = mosaic(1, 2, tile=96)
    tiles = write_tiles(odd / "tiles '$(touch PWNED)", made, table=False)
    names = ['it\'s [1], "$(touch PWNED)".tif', "{a} *ü `touch PWNED`.tif"]
    for n, name in enumerate(names):
        (tiles / f"{n:04d}.tif").rename(tiles / name)
    table = odd / "-positions $(touch PWNED).csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([("tile", "y", "x"), *((name, *at) for name, at in zip(names, made.nominal.tolist()))])
    words = ("--workflow", "mosaic", "--input", tiles, "--tile_positions", table, "--report_plots", "false")
    done = run(*words, folder=tmp_path / "run", outdir=odd / "out $(touch PWNED)")
    assert done.code == 0, done.said
    assert unharmed(tmp_path)
    with open(done.outdir / "tile_positions.csv", newline="") as file:
        assert [row["tile"] for row in csv.DictReader(file)] == names
    assert (done.outdir / "mosaic.ome.zarr/0/zarr.json").exists()


@pytest.mark.slow
def test_a_work_folder_that_the_engine_cannot_handle_is_refused(tmp_path: Path):
    words = ("-profile", "demo", "-stub-run")
    done = run(*words, folder=tmp_path, work=tmp_path / "a $HOME")
    assert done.code == 64
    assert "the engine cannot work where a path has the character" in done.said and "-w" in done.said


@pytest.mark.slow
def test_in_a_container_an_odd_path_is_refused_in_one_line(odd: Path, tmp_path: Path):
    """The engine mounts what it links; a path that it cannot link it cannot mount."""
    shutil.copy(PROJECT / "assets/demo/fib25_crop.npz", odd / "x.npz")
    words = ("--input", odd / "x.npz", "--voxel_size", "10,10,10", "-stub-run", "-with-apptainer", "none.sif")
    done = run(*words, folder=tmp_path / "run")
    assert done.code == 64 and "in a container a path cannot have such characters; rename" in done.said
    assert unharmed(tmp_path)
