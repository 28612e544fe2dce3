"""Names and limits of files that sample their dropout (sample_dropout): masks and outputs."""

DEFAULT_SAMPLES, MAX_SAMPLES = 8, 1000

MASK_PREFIX = "dropout_mask_"
"""The inputs are called dropout_mask_0, dropout_mask_1, ... in the order of the dropouts."""

PROBABILITIES = "probabilities"
UNCERTAINTY = "uncertainty"
ENTROPY = "entropy"
MUTUAL_INFORMATION = "mutual_information"
CONFIDENCE = "confidence"
SAMPLES = "sample_log_probabilities"
"""A value inside the graph, (S, K, H, W) float32, that checks read."""

MAPS = (UNCERTAINTY, ENTROPY, MUTUAL_INFORMATION, CONFIDENCE)
"""The outputs (N, H, W) float32 that follow the probabilities or labels."""


def is_mask(name: str) -> bool:
    """Return whether the input `name` is a dropout mask."""
    return name.startswith(MASK_PREFIX) and name[len(MASK_PREFIX) :].isdigit()
