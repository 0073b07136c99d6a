"""Scores by region: a fault counts where it lies, and the parts cover the whole."""

from __future__ import annotations

import numpy as np
from voxelmill.postprocess import score_regions
from voxelmill.postprocess.score import Contingency


def test_boxes_cover_the_volume_once():
    boxes = score_regions.boxes((3, 7, 1), (2, 3, 4))
    seen = np.zeros((3, 7, 1), int)
    for box in boxes.values():
        seen[box] += 1
    assert (seen == 1).all() and list(boxes)[:2] == ["z0_y0_x0", "z0_y1_x0"] and len(boxes) == 6


def test_a_part_without_truth_says_so():
    assert score_regions.figures(Contingency(), (slice(0, 1),) * 3) == {"box": "0,0,0,1,1,1", "voxels": 0}
