"""People's SegNet checkpoints -> our SegNet, with the same results.

read     a file -> tensors by name
layout   tensors by name -> convolutions in execution order, by family
loading  the two together, checked, printed: load_checkpoint
"""

from segnet_export.checkpoints.loading import LoadedCheckpoint, load_checkpoint

__all__ = ["LoadedCheckpoint", "load_checkpoint"]
