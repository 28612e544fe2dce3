"""Caffe's messages for tests, in Google's protobuf library: a reader and writer of both formats.

The package has its own readers; here the library itself parses and writes, so that neither can be
wrong in the same way. Numbers are those of caffe.proto as caffe-segnet has it, except for those of
layers that it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_TYPES = {"int": 3, "float": 2, "bool": 8, "str": 9, "double": 1}
# message -> field -> (number, type); a leading * is repeated, # repeated and packed.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Shape": {"dim": (1, "#int")},
    "Blob": {
        "shape": (7, "Shape"),
        "data": (5, "#float"),
        "double_data": (8, "#double"),
        "num": (1, "int"),
        "channels": (2, "int"),
        "height": (3, "int"),
        "width": (4, "int"),
    },
    "Filler": {"type": (1, "str"), "value": (2, "float"), "std": (6, "float")},
    "Rule": {"phase": (1, "str"), "stage": (4, "*str"), "not_stage": (5, "*str")},
    "Param": {"lr_mult": (3, "float"), "decay_mult": (4, "float"), "name": (1, "str")},
    "Conv": {
        "num_output": (1, "int"),
        "bias_term": (2, "bool"),
        "pad": (3, "*int"),
        "kernel_size": (4, "*int"),
        "group": (5, "int"),
        "stride": (6, "*int"),
        "weight_filler": (7, "Filler"),
        "bias_filler": (8, "Filler"),
        "pad_h": (9, "int"),
        "pad_w": (10, "int"),
        "kernel_h": (11, "int"),
        "kernel_w": (12, "int"),
        "stride_h": (13, "int"),
        "stride_w": (14, "int"),
        "dilation": (18, "*int"),
        "hole": (19, "*int"),
    },
    "Pool": {
        "pool": (1, "str"),
        "kernel_size": (2, "int"),
        "stride": (3, "int"),
        "pad": (4, "int"),
        "kernel_h": (5, "int"),
        "kernel_w": (6, "int"),
        "stride_h": (7, "int"),
        "stride_w": (8, "int"),
        "global_pooling": (12, "bool"),
    },
    "Upsample": {
        "scale": (1, "int"),
        "pad_out_h": (4, "bool"),
        "pad_out_w": (5, "bool"),
        "upsample_h": (6, "int"),
        "upsample_w": (7, "int"),
    },
    "Unpooling": {
        "unpool": (1, "str"),
        "kernel_size": (2, "int"),
        "stride": (3, "int"),
        "unpool_size": (4, "int"),
    },
    "BN": {"bn_mode": (3, "str"), "scale_filler": (1, "Filler"), "shift_filler": (2, "Filler")},
    "BatchNorm": {"use_global_stats": (1, "bool"), "eps": (3, "float")},
    "Scale": {"bias_term": (4, "bool"), "axis": (1, "int"), "filler": (3, "Filler")},
    "LRN": {
        "local_size": (1, "int"),
        "alpha": (2, "float"),
        "beta": (3, "float"),
        "norm_region": (4, "str"),
        "k": (5, "float"),
    },
    "Dropout": {"dropout_ratio": (1, "float"), "sample_weights_test": (2, "bool")},
    "Softmax": {"axis": (2, "int"), "engine": (1, "str")},
    "ArgMax": {"axis": (3, "int")},
    "Eltwise": {"operation": (1, "str"), "coeff": (2, "*float")},
    "Concat": {"axis": (2, "int")},
    "Crop": {"axis": (1, "int"), "offset": (2, "*int")},
    "InnerProduct": {"num_output": (1, "int"), "bias_term": (2, "bool")},
    "Reshape": {"shape": (1, "Shape")},
    "Interp": {"zoom_factor": (3, "int"), "height": (1, "int"), "width": (2, "int")},
    "ReLU": {"negative_slope": (1, "float")},
    "Power": {"power": (1, "float"), "scale": (2, "float"), "shift": (3, "float")},
    "PReLU": {"channel_shared": (2, "bool")},
    "Input": {"shape": (1, "*Shape")},
    "Data": {"source": (1, "str"), "batch_size": (2, "int"), "shuffle": (4, "bool")},
    "Transform": {"scale": (1, "float"), "mean_value": (5, "*float"), "crop_size": (3, "int")},
    "Loss": {
        "ignore_label": (1, "int"),
        "weight_by_label_freqs": (3, "bool"),
        "class_weighting": (4, "*float"),
    },
    "Python": {"module": (1, "str"), "layer": (2, "str"), "param_str": (3, "str")},
    "Settings": {
        "argmax_param": (103, "ArgMax"),
        "concat_param": (104, "Concat"),
        "convolution_param": (106, "Conv"),
        "dropout_param": (108, "Dropout"),
        "eltwise_param": (110, "Eltwise"),
        "inner_product_param": (117, "InnerProduct"),
        "lrn_param": (118, "LRN"),
        "pooling_param": (121, "Pool"),
        "power_param": (122, "Power"),
        "relu_param": (123, "ReLU"),
        "softmax_param": (125, "Softmax"),
        "reshape_param": (133, "Reshape"),
        "upsample_param": (137, "Upsample"),
        "unpooling_param": (1137, "Unpooling"),
        "bn_param": (45, "BN"),
        "batch_norm_param": (139, "BatchNorm"),
        "scale_param": (142, "Scale"),
        "prelu_param": (131, "PReLU"),
        "crop_param": (144, "Crop"),
        "interp_param": (143, "Interp"),
        "input_param": (145, "Input"),
        "dense_image_data_param": (147, "Data"),
        "transform_param": (100, "Transform"),
        "loss_param": (101, "Loss"),
        "python_param": (130, "Python"),
        "param": (46, "*Param"),
        "loss_weight": (47, "*float"),
        "include": (48, "*Rule"),
        "exclude": (49, "*Rule"),
    },
}
_SETTINGS = _MESSAGES.pop("Settings")
_MESSAGES["Layer"] = {
    "name": (1, "str"),
    "type": (2, "str"),
    "bottom": (3, "*str"),
    "top": (4, "*str"),
    "blobs": (7, "*Blob"),
    **_SETTINGS,
}
_MESSAGES["OldLayer"] = {
    "bottom": (2, "*str"),
    "top": (3, "*str"),
    "name": (4, "str"),
    "type": (5, "str"),
    "blobs": (6, "*Blob"),
    "blobs_lr": (1007, "*float"),
    "weight_decay": (1008, "*float"),
    **_SETTINGS,
}
_MESSAGES["Net"] = {
    "name": (1, "str"),
    "layers": (2, "*OldLayer"),
    "input": (3, "*str"),
    "input_dim": (4, "*int"),
    "input_shape": (8, "*Shape"),
    "layer": (100, "*Layer"),
}


def _pool() -> Any:
    """Return the library's class of a net."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe_test.proto", package="caffe_test")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if kind[0] in "*#" else 1)
            base = kind.lstrip("*#")
            if base in _TYPES:
                added.type = _TYPES[base]
            else:
                added.type, added.type_name = 11, f".caffe_test.{base}"
            added.options.packed = kind[0] == "#"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe_test.Net"))


NetMessage = _pool()


def parse(text: str) -> Any:
    """Parse a prototxt with the library. Its enumerations become words in quotes first."""
    import re

    quoted = re.sub(
        r"\b(pool|unpool|phase|bn_mode|operation|norm_region|type|engine):\s*([A-Z_]+)\b",
        r'\1: "\2"',
        text,
    )
    return text_format.Parse(quoted, NetMessage(), allow_unknown_field=True)


def caffemodel(weights: Mapping[str, Any], old: bool = False, shape: str = "new") -> bytes:
    """Return the bytes of a caffemodel with the blobs of each layer.

    `old` writes `layers` of before 2015; `shape` "old" writes num, channels, height and width.
    """
    net = NetMessage(name="net")
    for name, blobs in weights.items():
        layer = (net.layers if old else net.layer).add(name=name)
        for array in blobs:
            blob = layer.blobs.add()
            if shape == "old":
                sizes = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = sizes
            else:
                blob.shape.dim.extend(array.shape)
            values = np.asarray(array, "<f4").tobytes()
            blob.MergeFromString(b"\x2a" + _varint(len(values)) + values)  # field 5, packed
    data: bytes = net.SerializeToString()
    return data


def _varint(number: int) -> bytes:
    """Return `number` as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
