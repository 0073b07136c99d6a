#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.resample_mosaic_grid")
