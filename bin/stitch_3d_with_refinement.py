#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.stitch_3d_with_refinement")
