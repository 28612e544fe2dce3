"""Numbers printed in the SegNet paper (Badrinarayanan, Kendall, Cipolla, 2017)."""

from __future__ import annotations

from dataclasses import dataclass

TABLE_6_CONDITIONS = (
    "caffe time, mean of 10, batch 1, 360x480; memory by nvidia-smi, with the CUDA context; "
    "the table names no GPU"
)


@dataclass(frozen=True)
class Table6Row:
    """One network of Table 6. Seconds; 1 MB = 1e6 bytes; training at batch 4."""

    network: str
    forward: float
    backward: float
    training_bytes: int
    inference_bytes: int
    model_bytes: int


_MB = 1_000_000
TABLE_6 = (
    Table6Row("SegNet", 0.42250, 0.48871, 6803 * _MB, 1052 * _MB, 117 * _MB),
    Table6Row("DeepLab-LargeFOV", 0.11006, 0.16073, 5618 * _MB, 1993 * _MB, 83 * _MB),
    Table6Row("FCN (learnt deconv)", 0.31709, 0.48411, 9735 * _MB, 1806 * _MB, 539 * _MB),
    Table6Row("DeconvNet", 0.47465, 0.60215, 9731 * _MB, 1872 * _MB, 877 * _MB),
)


@dataclass(frozen=True)
class Table1Row:
    """One decoder variant of Table 1, at 11 classes. Forward in seconds on an NVIDIA Titan.

    `storage` is the paper's multiple of memory for what the decoder keeps from the encoder.
    """

    network: str
    parameters: float
    storage: int | None
    forward: float


TABLE_1 = (
    Table1Row("Bilinear-Interpolation", 0.625e6, 0, 0.0242),
    Table1Row("SegNet-Basic", 1.425e6, 1, 0.0526),
    Table1Row("SegNet-Basic-EncoderAddition", 1.425e6, 64, 0.0530),
    Table1Row("SegNet-Basic-SingleChannelDecoder", 0.625e6, 1, 0.0331),
    Table1Row("FCN-Basic", 0.65e6, 11, 0.0242),
    Table1Row("FCN-Basic-NoAddition", 0.65e6, None, 0.0238),
    Table1Row("FCN-Basic-NoDimReduction", 1.625e6, 64, 0.0448),
    Table1Row("FCN-Basic-NoAddition-NoDimReduction", 1.625e6, 0, 0.0439),
)


def table_6(network: str = "SegNet") -> Table6Row:
    """Return the row of one network."""
    return next(row for row in TABLE_6 if row.network == network)
