#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.bring_to_common_space")
