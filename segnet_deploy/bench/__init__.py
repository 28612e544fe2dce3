"""Measure latency, memory and energy of a model, and compare several."""
