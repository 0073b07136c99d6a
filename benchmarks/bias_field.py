"""Bias field: what is left of a known gain, beside SimpleITK's N4, in one process and on the same voxels.

    python benchmarks/bias_field.py         needs SimpleITK (pip install 'voxelmill[bench]')

An egg of four tissues with speckle, 48^3, lit unevenly; figures are the standard deviation of log gain left in tissue (%),
and CPU seconds. N4 as the guide of linumpy has it (four scales of 50 rounds), and with one and two scales.
"""

from __future__ import annotations

import time

import numpy as np
from scipy import ndimage
from voxelmill.transform.bias_field import estimate, tissue

N, SEEDS = 48, range(40, 43)


def lit(seed: int, looks: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:N, :N, :N] / (N - 1) * 2 - 1
    inside = (z / 0.85) ** 2 + (y / 0.75) ** 2 + (x / 0.9) ** 2 < 1
    regions = ndimage.gaussian_filter(rng.normal(size=(N, N, N)), N / 30)
    regions /= regions.std()
    values = np.select([regions < -0.6, regions < 0.3, regions < 1], [0.35, 0.5, 0.62], 0.8)
    a, b, c, d = rng.normal(size=4) * 0.2
    log = a * z + b * y + c * (x * x - 0.33) + d * y * x + 0.24 * np.cos(1.5 * y + x)
    speckle = rng.gamma(looks, 1 / looks, (N, N, N))
    return (np.where(inside, values * np.exp(log), 0.02) * speckle).astype(np.float32), inside, log


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
    methods = {"nothing": lambda v, m: np.zeros(v.shape), "voxelmill": ours}
    methods |= {f"N4, {k} scale{'s' * (k > 1)}": lambda v, m, k=k: n4(v, m, k) for k in (1, 2, 4)}
    for looks in (60, 6, 1):
        for name, method in methods.items():
            left = []
            for seed in SEEDS:
                values, inside, log = lit(seed, looks)
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
