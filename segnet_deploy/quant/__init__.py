"""INT8: calibrate an fp32 ONNX file, lay Q/DQ with one scale per ReLU output, correct biases.

Never imports torch. ONNX Runtime computes the statistics (extra `quant`).
"""

METHODS = ("minmax", "percentile", "entropy")
DEFAULT_METHOD = "percentile"
DEFAULT_FRAMES = 30
GATE_FRAMES = 12
