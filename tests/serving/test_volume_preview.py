"""Pictures of the subject's volume."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
from voxelmill.serving import volume_preview
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import published, stack
from voxelmill.transform.plan_stack import Laid, Plan


def made(folder: Path) -> tuple[Path, Path]:
    """A volume of five slices, each brighter than the one above, and its plan."""
    z, y, x = np.meshgrid(np.arange(80), np.arange(90), np.arange(120), indexing="ij")
    tissue = ((y - 45) / 40.0) ** 2 + ((x - 60) / 55.0) ** 2 < 1
    values = tissue * (0.3 + 0.1 * (z // 16)) * (1 + 0.2 * np.sin(x / 4.0))
    path = published(folder, stack(folder, values))
    laid = [Laid(number=n, z=16 * k, planes=20, matrix=[[1, 0, 0], [0, 1, 0]]) for k, n in enumerate((0, 1, 2, 4, 5))]
    plan = Plan(shape=(80, 90, 120), scale=(0.01, 0.01, 0.01), origin=(1.0, 2.0, -3.0), slices=laid)
    (folder / "stack.json").write_text(plan.model_dump_json())
    return path, folder / "stack.json"


def draw(folder: Path, path: Path, plan: Path, **flags: object) -> tuple[np.ndarray, np.ndarray]:
    given = {"volume": path, "plan": plan, "name": "sub-01", "preview": "a.png", "annotated": "b.png"}
    assert run_stage("serving.volume_preview", folder, **given, **flags) == 0
    return matplotlib.image.imread(folder / "a.png"), matplotlib.image.imread(folder / "b.png")


def test_slices_are_named_and_lines_drawn_as_wanted(tmp_path: Path):
    path, plan = made(tmp_path)
    plain, names = draw(tmp_path / "all", path, plan)
    _, fewer = draw(tmp_path / "few", path, plan, annotated_label_every=2)
    _, lines = draw(tmp_path / "lines", path, plan, annotated_show_lines=True)
    blue = np.array([0x56, 0xB4, 0xE9]) / 255

    def is_blue(picture: np.ndarray) -> int:
        return int((abs(picture[..., :3] - blue).max(-1) < 0.1).any(1).sum())

    assert is_blue(names) == 0 and is_blue(lines) >= 5  # five surfaces, a row or two each
    assert plain.std() > 0.1 and (names[:, :40] < 0.5).sum() > 1.4 * (fewer[:, :40] < 0.5).sum()


def test_large_volumes_are_drawn_from_a_coarse_level(tmp_path: Path, monkeypatch):
    from voxelmill.core.volume import open_image

    path, _ = made(tmp_path)
    assert volume_preview.level_to_draw(open_image(path)) == 0
    monkeypatch.setattr(volume_preview, "MOST_PX", 50)
    assert volume_preview.level_to_draw(open_image(path)) == 1
