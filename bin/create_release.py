#!/usr/bin/env python3
from voxelmill.core.stage import main

main("catalog.create_release")
