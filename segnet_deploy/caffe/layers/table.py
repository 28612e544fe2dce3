"""The layer types that can be exported, and their functions."""

from __future__ import annotations

from segnet_deploy.caffe.layers import convolution, normalisation, pointwise, pooling
from segnet_deploy.caffe.layers.context import Convert

LAYERS: dict[str, Convert] = {
    "ArgMax": pointwise.argmax,
    "BN": normalisation.bn,
    "BatchNorm": normalisation.batch_norm,
    "Concat": pointwise.concat,
    "Convolution": convolution.convolution,
    "Crop": pointwise.crop,
    "Deconvolution": convolution.deconvolution,
    "Dropout": pointwise.dropout,
    "Eltwise": pointwise.eltwise,
    "InnerProduct": convolution.inner_product,
    "Interp": pointwise.interp,
    "LRN": normalisation.lrn,
    "PReLU": pointwise.prelu,
    "Pooling": pooling.pooling,
    "Power": pointwise.power,
    "ReLU": pointwise.relu,
    "Reshape": pointwise.reshape,
    "Scale": normalisation.scale,
    "Sigmoid": pointwise.sigmoid,
    "Softmax": pointwise.softmax,
    "Split": pointwise.split,
    "TanH": pointwise.tanh,
    "Unpooling": pooling.unpooling,
    "Upsample": pooling.upsample,
}
