"""This machine: processor, clocks, memory, power, GPU; and child processes.

It reads and controls; statistics and warnings are in segnet_deploy/bench.
"""
