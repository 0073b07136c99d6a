#!/usr/bin/env python3
from voxelmill.core.stage import main

main("serving.make_manual_align_package")
