#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.estimate_global_illumination")
