"""TensorRT 10.x, TensorRT 11.x and TensorRT-RTX engines behind the Engine protocol."""
