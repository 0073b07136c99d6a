"""Bias field: what is left of a known gain, beside SimpleITK's N4, in one process and on the same voxels.

    python benchmarks/bias_field.py         needs SimpleITK (pip install 'voxelmill[bench]')

An egg of four tissues with speckle, 48^3, lit unevenly; figures are the standard deviation of log gain left in tissue (%),
and CPU seconds. N4 as the guide of linumpy has it (four scales of 50 rounds), and with one and two scales.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter

import numpy as np
from voxelmill.testing.uneven import lit
from voxelmill.transform.bias_field import estimate, tissue

N, SEEDS = 48, range(40, 43)


def n4(values: np.ndarray, mask: np.ndarray, scales: int) -> np.ndarray:
    import SimpleITK as sitk

    found = sitk.N4BiasFieldCorrectionImageFilter()
    found.SetMaximumNumberOfIterations([50] * scales)
    image = sitk.GetImageFromArray(values)
    found.Execute(image, sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayFromImage(found.GetLogBiasFieldAsImage(image))


def ours(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    gain = estimate(values, mask, (1, 1, 1), (0, 0, 0))
    assert gain is not None
    return gain.log_at([np.arange(n) for n in values.shape])


def main() -> None:
    ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter).parse_args()
    methods = {"nothing": lambda v, m: np.zeros(v.shape), "voxelmill": ours}
    methods |= {f"N4, {k} scale{'s' * (k > 1)}": lambda v, m, k=k: n4(v, m, k) for k in (1, 2, 4)}
    for looks in (60, 6, 1):
        for name, method in methods.items():
            left = []
            for seed in SEEDS:
                values, inside, log = lit(seed, N, looks=looks)
                values = values.astype(np.float32)
                begun = time.process_time()
                found = method(np.maximum(values, 1e-6), tissue(values))
                left.append((100 * (found - log)[inside].std(), time.process_time() - begun))
            mean, cpu = np.mean(left, axis=0)
            print(
                f"{looks:3d} looks  {name:14s} {mean:5.1f} %  worst {max(v for v, _ in left):5.1f} %  {cpu:5.2f} CPU s",
                flush=True,
            )


if __name__ == "__main__":
    main()
