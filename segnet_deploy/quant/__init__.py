"""INT8 without torch: calibrate an fp32 ONNX file, insert Q/DQ, correct biases, check, write.

quantise         the whole: one call
quantiser        one file and its calibration; writes INT8 files of it
sensitivity      which layers to keep in fp32 for an mIoU budget
calibration      ranges and means; ONNX Runtime computes the statistics (extra `quant`)
insert_qdq       one scale per source; bias_correction, sites, graph_values serve it
"""

METHODS = ("minmax", "percentile", "entropy")
DEFAULT_METHOD = "percentile"
DEFAULT_FRAMES = 30
GATE_FRAMES = 12
LABELLED_FRAMES = 50
