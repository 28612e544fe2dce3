"""ONNX to ONNX, without torch: another form, another precision, other metadata."""

from segnet_deploy.convert.conversion import ConvertResult, convert

__all__ = ["ConvertResult", "convert"]
