"""Training of the networks that ship, and of a user's own: `voxelmill train`. No run-time stage imports this package.

Torch (`pip install voxelmill[train]`) is imported where a network is made, never at the top of a module that
is not about torch. What comes out, a folder with `model.onnx` and `card.json`, needs onnxruntime alone.
"""
