"""Facts about this machine: processor, clocks, power, GPU."""
