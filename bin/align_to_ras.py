#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.align_to_ras")
