"""SegNet, and the networks that the paper compares it with, in PyTorch."""

from segnet_export.models.architectures import ARCHITECTURES, Architecture, create
from segnet_export.models.basic import SegNetBasic
from segnet_export.models.place_dropout import place_dropout
from segnet_export.models.segnet import SegNet, SegNetConfig

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "SegNet",
    "SegNetBasic",
    "SegNetConfig",
    "create",
    "place_dropout",
]
