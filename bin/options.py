#!/usr/bin/env python3
"""Parameters of a run, before the engine compiles anything and at its start. Standard library only."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "python"))

from voxelmill.core.head import main

sys.exit(main(sys.argv[1:]))
