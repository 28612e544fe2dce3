"""Accuracy on labelled frames, and how far two files agree."""
