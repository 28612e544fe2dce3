"""Where a camera loop's frames come from."""
