"""An ONNX graph as an ncnn net, with what ncnn has no operator for left to the host."""
