"""ONNX to ONNX, without torch: another form, another precision, other metadata.

convert        `convert`: rewrite a file and its metadata
compare_files  run the new file and its source, and compare the results
"""

from segnet_deploy.conversion.convert import ConvertResult, convert

__all__ = ["ConvertResult", "convert"]
