"""Mutated files through the commands: seeds, mutations, cases, and the process that runs them."""
