"""What the site draws from the code: commands, Python names, figures of benchmarks/results."""
