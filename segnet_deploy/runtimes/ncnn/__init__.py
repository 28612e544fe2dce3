"""ncnn: translate an ONNX graph to ncnn nets; the host computes what ncnn does not support."""
