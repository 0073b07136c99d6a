#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.correct_bias_field")
