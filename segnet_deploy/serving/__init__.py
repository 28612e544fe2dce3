"""Serve a model with Triton Inference Server.

repository     write a model repository that the server loads
config         the text of its config.pbtxt files
triton_models  what runs inside the server's Python backend: decode, segment, encode

The client is a runtime, segnet_deploy/runtimes/server.py: a model on a server opens like a file,
`load("grpc://host:8001/segnet")`.
"""

BACKENDS = ("python", "onnxruntime", "tensorrt")
"""The parts of the server that can run a model."""
