#!/usr/bin/env python3
"""Record a run in OUTDIR/runs.sqlite; facts come as JSON on standard input. Standard library only."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "python"))

from voxelmill.core.runs import log

log(sys.argv[1], json.load(sys.stdin))
