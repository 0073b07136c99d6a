#!/usr/bin/env python3
from voxelmill.core.stage import main

main("ingest.generate_slice_config")
