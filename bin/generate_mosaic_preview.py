#!/usr/bin/env python3
from voxelmill.core.stage import main

main("serving.generate_mosaic_preview")
