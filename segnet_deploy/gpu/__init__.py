"""The GPU through cuda-python.

objects  streams, events, buffers
session  fixed buffers, one stream, a CUDA graph and GPU times around any executable
arrays   arrays of PyCUDA, CuPy and torch, without a copy
nvml     clocks, power, temperature

PyCUDA itself is not needed: cuda-python is NVIDIA's own, and its arrays come in through the
CUDA Array Interface.
"""
