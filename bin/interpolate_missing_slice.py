#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.interpolate_missing_slice")
