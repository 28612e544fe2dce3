"""ONNX to ONNX and to other devices' files, without torch.

convert           `convert`: another form, another precision, other metadata
compare_files     run the new file and its source, and compare the results
lower_for_device  the lowered file that other devices' tools read
to_litert         LiteRT, through onnx2tf in an interpreter of its own
litert_program    what that interpreter runs
to_rknn           what RKNN-Toolkit2 reads
to_deepstream     what DeepStream's nvinfer reads, and its configuration
"""

from segnet_deploy.conversion.convert import ConvertResult, convert

__all__ = ["ConvertResult", "convert"]
