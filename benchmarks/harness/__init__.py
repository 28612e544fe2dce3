"""What several benchmark programs share; each program is one file next to this folder.

networks          SegNet in PyTorch, as an engine and as an ONNX file
engines           opening a file in a chosen runtime
options           command-line options
measurement       interleaved timing, time by operator, skipped cases
results           result files, and continuing them
ceilings          what the machine computes and copies at most (ceilings.cpp)
child             starting one of the modules below as a child process
peak_memory       child: peak memory of one way to run SegNet
paper_networks    child: export and training cost of the paper's networks
"""
