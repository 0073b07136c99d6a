"""Inputs as the head of a run sees them: paths, and fingerprints that follow links."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from voxelmill.testing.engine import NEXTFLOW, PROJECT, QUIET


def atlases(folder: Path) -> list[Path]:
    """Without an orientation, with one, and what is no atlas."""
    nrrd = "NRRD0004\ntype: float\ndimension: 3\n"
    for name in ("no.ome.zarr", "yes.ome.zarr", "what"):
        (folder / name).mkdir(parents=True)
    (folder / "no.ome.zarr/zarr.json").write_text('{"attributes": {}}')
    (folder / "yes.ome.zarr/zarr.json").write_text('{"axes": [{"name": "z", "orientation": {"value": "x"}}]}')
    (folder / "no.nrrd").write_text(f"{nrrd}space dimension: 3\n\nspace: LPS\nspace directions: (1,0,0)\n")
    (folder / "some.nhdr").write_text(f"{nrrd}space: left-posterior-superior\ndata file: a.raw\n")
    (folder / "yes.nrrd").write_text(f"{nrrd}space: LPS\r\nspace directions: (1,0,0) (0,1,0) (0,0,1)\r\n\r\nabc")
    head = (348).to_bytes(2, "little") + bytes(250)
    (folder / "no.nii").write_bytes(head + bytes(96))
    (folder / "yes.nii").write_bytes(head + b"\0\0\1\0" + bytes(92))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_paths_and_fingerprints(parser: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "a/deep").mkdir(parents=True)
    for z in range(3):
        (data / f"a/deep/{z}.tif").write_text("0")
        os.utime(data / f"a/deep/{z}.tif", (0, 0))
    shutil.copytree(data / "a", data / "b", copy_function=shutil.copy2)
    (data / "b/deep/1.tif").write_text("00")
    os.utime(data / "b/deep/1.tif", (0, 0))
    for name in "ab":
        (data / f"link-{name}").symlink_to(data / name)
        (data / f"holds-{name}").mkdir()
        (data / f"holds-{name}/sections").symlink_to(data / name)
    (data / "loop").mkdir()
    (data / "loop/sections").symlink_to(data / "a")
    (data / "loop/again").symlink_to(data / "loop")
    (data / "loop/gone").symlink_to(data / "nowhere")
    for name, planes in {"c": "000", "d": "010", "e": "000"}.items():  # the other file of a set; one that is of another set
        (data / name).mkdir()
        for part, text in zip(("v0.ome.tif", "v1.ome.tif", "v.companion.ome"), planes):
            (data / name / part).write_text("0" * (1 + int(text)))
            os.utime(data / name / part, (0, 0))
    (data / "e/w1.ome.tif").touch()
    (data / "x%20y").touch()
    (data / "x z").touch()
    locations = ["a", "link-a", "holds-a", "link-b", "holds-b", "b", "loop", "x%20y"]
    cases = [{"location": f"{data}/{name}", "most": 9} for name in locations]
    cases += [{"location": f"file://{data}/{name}", "most": 9} for name in ("x%20z", "x%20y")]
    cases += [{"location": "../data/a", "most": 9}]
    cases += [{"location": f"{data}/{name}", "most": most} for name, most in (("a", 3), ("a", 2), ("holds-a", 2), ("b", 9))]
    cases += [{"location": f"{data}/{name}/v{part}", "most": 9} for name in "cde" for part in ("0.ome.tif", ".companion.ome")]
    cases += [{"location": str(atlas)} for atlas in atlases(tmp_path / "atlases")]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    os.symlink(PROJECT / "workflows", tmp_path / "workflows")
    script = (PROJECT / "tests/inputs.nf").read_text().replace("'../workflows/inputs'", "'./workflows/inputs'")
    (tmp_path / "inputs.nf").write_text(script)
    (tmp_path / "run").mkdir()
    done = subprocess.run(
        [str(NEXTFLOW), "run", "../inputs.nf", "--cases", str(tmp_path / "cases.json")],
        cwd=tmp_path / "run",
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        timeout=120,
    )
    line = next((row for row in done.stdout.splitlines() if row.startswith("ANSWERS ")), None)
    assert line, done.stdout + done.stderr
    answers = json.loads(line.removeprefix("ANSWERS "))
    a, link_a, holds_a, link_b, holds_b, b, loop, plain, decoded, kept, relative, at, over, over_link, again, *sets = answers
    sets, lacking = sets[:6], {Path(place).name: what for place, what in sets[6:]}
    no_lines = "no space, no space directions in its header"
    assert lacking == {"no.nii": "neither sform nor qform", "no.nrrd": no_lines, "no.ome.zarr": "none in zarr.json",
                       "some.nhdr": "no space directions in its header", "yes.nii": "", "yes.nrrd": "", "yes.ome.zarr": "",
                       "what": ""}  # fmt: skip
    assert a[1] == link_a[1] == relative[1] == at[1] != b[1]
    assert link_a[1] != link_b[1] and holds_a[1] != holds_b[1] and link_b[1] == b[1] == again[1]
    assert len({a[1], holds_a[1], loop[1]}) == 3 and None not in (loop[1], holds_a[1])
    assert over[1] is None and over_link[1] is None
    assert plain[0] == kept[0] == f"{data}/x%20y" and decoded[0] == f"{data}/x z"
    (c, _), (c_home, _), (d, _), (d_home, _), (e, _), (e_home, _) = ((one[1], one[0]) for one in sets)
    assert c == c_home == e == e_home != d == d_home
