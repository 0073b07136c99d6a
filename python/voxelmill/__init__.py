"""Voxelmill: microscope acquisitions in, traceable volumes, graphs and traces out."""

__version__ = "0.1.0"
