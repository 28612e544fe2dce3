"""The parity gate: an exported file compared with the PyTorch model it came from."""
