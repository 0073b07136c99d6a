#!/usr/bin/env python3
from voxelmill.core.stage import main

main("transform.beam_profile_correction")
