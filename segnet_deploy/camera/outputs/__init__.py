"""Where a camera loop's results go."""
