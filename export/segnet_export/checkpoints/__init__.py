"""Other projects' SegNet checkpoints -> our SegNet, with the same results.

reading   a file -> tensors by name
families  how each code base names its layers
layout    tensors by name -> convolutions in execution order
loading   all of these together: load_checkpoint; and load_weights, for a given module
"""

from segnet_export.checkpoints.loading import LoadedCheckpoint, load_checkpoint, load_weights

__all__ = ["LoadedCheckpoint", "load_checkpoint", "load_weights"]
