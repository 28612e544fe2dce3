"""Figures printed in the SegNet paper (Badrinarayanan, Kendall, Cipolla, 2017)."""

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

    `storage` is the paper's factor of memory that the decoder needs from the encoder.
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


@dataclass(frozen=True)
class AccuracyRow:
    """A network's accuracy on a test set, in percent: G, C, mIoU and boundary F1."""

    network: str
    global_accuracy: float
    class_average: float
    mean_iou: float
    boundary_f1: float


TABLE_3_CONDITIONS = "CamVid test, 11 classes, trained on 3433 images"
TABLE_3 = (
    AccuracyRow("SegNet", 90.40, 71.20, 60.10, 46.84),
    AccuracyRow("DeepLab-LargeFOV", 88.20, 62.53, 53.88, 32.77),
    AccuracyRow("DeepLab-LargeFOV-denseCRF", 89.71, 60.67, 54.74, 40.79),
    AccuracyRow("FCN", 83.27, 59.56, 49.83, 27.99),
    AccuracyRow("FCN (learnt deconv)", 83.14, 64.21, 51.96, 33.18),
    AccuracyRow("DeconvNet", 89.58, 70.24, 59.77, 52.23),
)
TABLE_1_CONDITIONS = "CamVid test, 11 classes, trained on 367 images, median-frequency balancing"
TABLE_1_ACCURACY = (
    AccuracyRow("Bilinear-Interpolation", 77.9, 61.1, 43.3, 20.83),
    AccuracyRow("SegNet-Basic", 82.7, 62.0, 47.7, 35.78),
    AccuracyRow("SegNet-Basic-EncoderAddition", 83.4, 63.6, 48.5, 35.92),
    AccuracyRow("SegNet-Basic-SingleChannelDecoder", 81.2, 60.7, 46.1, 31.62),
    AccuracyRow("FCN-Basic", 81.7, 62.4, 47.3, 38.11),
    AccuracyRow("FCN-Basic-NoAddition", 80.5, 58.6, 44.1, 31.96),
    AccuracyRow("FCN-Basic-NoDimReduction", 84.1, 63.4, 50.1, 37.37),
    AccuracyRow("FCN-Basic-NoAddition-NoDimReduction", 80.5, 61.6, 45.9, 30.47),
)


TITLES = {
    "segnet": "SegNet",
    "fcn-8s": "FCN (learnt deconv)",
    "fcn-32s": "FCN-32s",
    "deeplab-largefov": "DeepLab-LargeFOV",
    "deconvnet": "DeconvNet",
    "deconvnet-original": "DeconvNet (original)",
    "unet": "U-Net",
    "segnet-basic": "SegNet-Basic",
    "segnet-basic-encoder-addition": "SegNet-Basic-EncoderAddition",
    "segnet-basic-single-channel-decoder": "SegNet-Basic-SingleChannelDecoder",
    "bilinear-interpolation": "Bilinear-Interpolation",
    "fcn-basic": "FCN-Basic",
    "fcn-basic-no-addition": "FCN-Basic-NoAddition",
    "fcn-basic-no-dim-reduction": "FCN-Basic-NoDimReduction",
    "fcn-basic-no-addition-no-dim-reduction": "FCN-Basic-NoAddition-NoDimReduction",
}
"""The paper's names of the networks of `segnet-export --arch`."""


def table_6(network: str = "SegNet") -> Table6Row:
    """Return the row of a network of Table 6."""
    return next(row for row in TABLE_6 if row.network == network)


def find_table_6_row(network: str | None) -> Table6Row | None:
    """Return the row of a network, whatever its case, or None if Table 6 does not have it."""
    name = (network or "").lower()
    return next((row for row in TABLE_6 if row.network.lower() == name), None)
