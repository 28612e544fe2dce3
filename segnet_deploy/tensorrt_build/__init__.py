"""Build TensorRT engines from ONNX files, in a child process."""
