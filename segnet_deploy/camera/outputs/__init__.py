"""Outputs of results: `base` is the protocol, `add` opens and wires them; one file per output."""
