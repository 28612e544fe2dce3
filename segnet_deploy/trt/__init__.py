"""TensorRT 10.x, TensorRT 11.x and TensorRT-RTX through one code path.

library  find and load one of them
request  what to build, as JSON for the child process
worker   the child process: parse and build
layers   what was built, read back from the builder's own listing
"""
