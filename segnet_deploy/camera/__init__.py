"""The camera loop: always the newest frame, through everything that cameras do."""
