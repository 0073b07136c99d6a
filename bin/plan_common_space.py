#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.plan_common_space")
