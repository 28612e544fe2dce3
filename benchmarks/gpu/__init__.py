"""The parts of the GPU check (benchmarks/gpu_check.py, docs/how-to/gpu-check.md)."""
