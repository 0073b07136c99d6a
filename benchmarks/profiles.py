"""The three profiles of `reconstruct` on made slices, well registered, torn, and cut askew: docs/images/profiles.png.

python benchmarks/profiles.py docs/images/profiles.png
python benchmarks/profiles.py OTHER.png --seed 90        another block, other turns and errors of the stage
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import alignment_error, registered, stacked, tilted, torn
from voxelmill.transform.slice_solution import Believed

NAMES = ("minimal", "conservative", "aggressive")
DATA = {"good pairs": registered, "torn slices": torn, "slices cut askew": tilted}


def flags_of(profile: str) -> dict[str, Any]:
    extra: dict[str, Any] = {name: field.json_schema_extra or {} for name, field in Believed.model_fields.items()}
    said = {name: of.get("profiles", {}) for name, of in extra.items()}
    return {name: values[profile] for name, values in said.items() if profile in values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(9, 5.4), layout="constrained")
    for row, (label, data) in zip(axes, DATA.items(), strict=True):
        made, source, stores = data(seed=given.seed)
        for ax, name in zip(row, NAMES, strict=True):
            folder = Path(tempfile.mkdtemp())
            volume = open_image(stacked(folder, stores, source, **flags_of(name))).read()
            section = volume[:, :, volume.shape[2] // 2]
            ax.imshow(section, cmap="gray", vmin=0, vmax=np.percentile(section, 99.5))
            off = alignment_error(made, stores, folder / "plan.json")
            print(f"{label}, {name}: {off:.2f} px off", flush=True)
            ax.set_title(f"{label}, {name}\n{off:.2f} px off", fontsize=9)
            ax.set_xticks([])
            ax.set_xlabel("stage x", fontsize=7)
            ax.set_yticks([made.thickness * s for s in made.kept], [f"z{s:02d}" for s in made.kept], fontsize=7)
    figure.savefig(given.picture, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
