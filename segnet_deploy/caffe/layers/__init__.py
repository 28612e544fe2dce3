"""Caffe's layers as ONNX operators: one function per layer type, by family."""

from __future__ import annotations
