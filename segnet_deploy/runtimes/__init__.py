"""Runtimes behind one protocol: `runtimes.open(path)` gives arrays in, arrays out.

base         the Engine protocol and the one table of runtimes
loader       `open`: ONNX files and built engines alike
auto_select  `runtime="auto"`: the fastest runtime for a file, measured once
model_file   what an ONNX file contains, as runtimes need it
onnxruntime, openvino, ncnn/, tensorrt/   one runtime each
"""

from segnet_deploy.runtimes.base import Engine, Port, Runtime, check_input, is_engine_file
from segnet_deploy.runtimes.loader import installed, open

__all__ = ["Engine", "Port", "Runtime", "check_input", "installed", "is_engine_file", "open"]
