"""Other projects' SegNet checkpoints -> our SegNet, with the same results.

torch_files       a file -> Python objects, without running code from it
networks          Python objects -> the tensors of each network by name
reading           the tensors of the chosen network, without prefixes
tensor_checks     the check of every tensor
parametrisations  weights that are stored in parts
families          how each code base names its layers
layout            tensors by name -> convolutions in execution order
building          the layout -> our SegNet
loading           all of these together: load_checkpoint; and load_weights, for a given module
"""

from segnet_export.checkpoints.building import LoadedCheckpoint
from segnet_export.checkpoints.loading import load_checkpoint, load_weights

__all__ = ["LoadedCheckpoint", "load_checkpoint", "load_weights"]
