#!/usr/bin/env python3
from voxelmill.core.stage import main

main("serving.common_space_preview")
