#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.fit_bias_field")
