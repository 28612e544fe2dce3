"""The parts of the GPU check (benchmarks/gpu_check.py, docs/gpu-check.md)."""
