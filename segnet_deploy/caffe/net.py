"""The layers of a prototxt that compute labels from an image, in order, and the image's size.

Both generations of prototxt are read: `layer` with types such as "Convolution", and the older
`layers` with types such as CONVOLUTION. The net is the one of the TEST phase: layers of the other
phase are left out, and so are data, losses and accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segnet_deploy.caffe.prototxt import Field, Message, read_prototxt
from segnet_deploy.errors import InputError, UnsupportedModelError

# Names of the older types that are not the newer ones in capitals with underscores.
_OLD_TYPES = {
    "BN": "BN",
    "LRN": "LRN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "TANH": "TanH",
    "ARGMAX": "ArgMax",
}
_SOURCES = ("Data", "Input", "Python")  # endings of types that read no blob
_NO_RESULT = ("Loss", "Accuracy", "Silence", "Write", "Output")  # endings of types without a result


@dataclass(frozen=True)
class Layer:
    """One layer: its name, its type as in `layer`, the blobs it reads and writes, its fields."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    fields: Message

    def __str__(self) -> str:
        return f"layer '{self.name}' ({self.type})"

    def settings(self, name: str, known: Sequence[str]) -> Message:
        """Return the message `name`, empty if absent.

        Raises UnsupportedModelError for a field that is not `known`: it may change the result.
        """
        message = self.fields.message(name)
        message.where = f"{self}, {name}"
        if unknown := sorted(message.names() - set(known)):
            raise UnsupportedModelError(
                f"{self}: {name} has the unknown field '{unknown[0]}'; expected {', '.join(known)}"
            )
        return message


@dataclass(frozen=True)
class Net:
    """An inference net.

    `image` is the blob of the input, `shape` its (N, C, H, W); sizes that the prototxt does not
    determine are None. `batch` is that of the data layer, if it has one. `mean` and
    `scale` are those of the data layer: (x - mean) * scale; `notes` are lines for the user.
    """

    image: str
    shape: tuple[int | None, int | None, int | None, int | None]
    layers: tuple[Layer, ...]
    batch: int | None = None
    mean: tuple[float, ...] = ()
    scale: float = 1.0
    notes: tuple[str, ...] = field(default=())

    def with_inference_bn(self) -> Net:
        """Return the net with every BN layer in the mode INFERENCE."""
        mode = Field("bn_param", Message("", [Field("bn_mode", "INFERENCE", 0)]), 0)
        changed = [
            replace(layer, fields=Message(layer.fields.where, [*layer.fields.fields, mode]))
            if layer.type == "BN"
            else layer
            for layer in self.layers
        ]
        return replace(self, layers=tuple(changed))


def read_net(path: Path) -> Net:
    """Read the inference net of a prototxt. Raises InputError or UnsupportedModelError."""
    message = read_prototxt(path)
    layers = [_layer(item, str(path)) for item in message.messages("layer")]
    layers += [_old_layer(item, str(path)) for item in message.messages("layers")]
    if not layers:
        raise InputError(
            f"{path} describes no layer; expected the prototxt of a net (a solver names it as net:)"
        )
    layers = [layer for layer in layers if _in_test_phase(layer.fields)]
    return _with_input(message, layers, path)


def _layer(message: Message, where: str) -> Layer:
    name, kind = message.text("name"), message.text("type")
    if not kind:
        raise InputError(f"{where}: layer '{name}' has no type")
    return Layer(name, kind, tuple(message.texts("bottom")), tuple(message.texts("top")), message)


def _old_layer(message: Message, where: str) -> Layer:
    if message.messages("layer"):
        raise UnsupportedModelError(
            f"{where} is a prototxt of 2013 (layers {{ layer {{ ... }} }}); convert it with "
            "Caffe's upgrade_net_proto_text"
        )
    layer = _layer(message, where)
    kind = _OLD_TYPES.get(layer.type) or "".join(
        word.capitalize() for word in layer.type.split("_")
    )
    return Layer(layer.name, kind, layer.bottoms, layer.tops, message)


def _in_test_phase(fields: Message) -> bool:
    """Return whether the include and exclude rules keep a layer in the TEST phase, level 0."""
    include, exclude = fields.messages("include"), fields.messages("exclude")
    if include:
        return any(_rule_holds(rule) for rule in include)
    return not any(_rule_holds(rule) for rule in exclude)


def _rule_holds(rule: Message) -> bool:
    return (
        rule.text("phase", "TEST") in ("TEST", "1")
        and rule.integer("min_level", 0) <= 0 <= rule.integer("max_level", 0)
        and not rule.texts("stage")
    )


def _with_input(message: Message, layers: list[Layer], path: Path) -> Net:
    """Separate the input from the layers that compute, and return the net."""
    sources = [layer for layer in layers if not layer.bottoms]
    computing = [layer for layer in layers if layer.bottoms and not layer.type.endswith(_NO_RESULT)]
    for layer in sources:
        if not layer.type.endswith(_SOURCES):
            raise UnsupportedModelError(
                f"{path}: {layer} has no bottom and is no data layer; give its bottom, or replace "
                'it by input: "data" and input_dim:'
            )
    _check_silent(layers, computing)
    names = message.texts("input")
    if names:
        image, shape = names[0], _declared_shape(message, "input_shape", str(path))
    elif sources and sources[0].tops:
        image, shape = sources[0].tops[0], _source_shape(sources[0])
    else:
        raise InputError(f"{path} has no input: expected input:, an Input layer or a data layer")
    _check_order(image, computing, path)
    transform = sources[0].fields.message("transform_param") if sources else Message("", [])
    notes = []
    if transform.texts("mean_file"):
        notes.append("the data layer subtracts a mean_file, which is not read: give --mean")
    return Net(
        image,
        shape,
        tuple(computing),
        None if names else _batch(sources[0]),
        tuple(transform.reals("mean_value")),
        transform.real("scale", 1.0),
        tuple(notes),
    )


def _check_order(image: str, layers: list[Layer], path: Path) -> None:
    """Raise UnsupportedModelError if a layer reads a blob that no layer before it computes."""
    written = {image}
    for layer in layers:
        if unknown := sorted(set(layer.bottoms) - written):
            raise UnsupportedModelError(
                f"{path}: {layer} reads '{unknown[0]}', which no layer before it computes from the "
                "image"
            )
        written |= set(layer.tops)


def _check_silent(layers: list[Layer], computing: list[Layer]) -> None:
    """Raise UnsupportedModelError if a layer that is left out has a result that others read."""
    dropped = {
        top: layer
        for layer in layers
        if layer.bottoms and layer not in computing
        for top in layer.tops
    }
    for layer in computing:
        for bottom in set(layer.bottoms) & set(dropped):
            raise UnsupportedModelError(f"{layer} reads '{bottom}' of {dropped[bottom]}")


def _declared_shape(
    message: Message, name: str, where: str
) -> tuple[int | None, int | None, int | None, int | None]:
    """Return the first of the shapes called `name`, or of input_dim. Raises InputError."""
    shapes = message.messages(name)
    sizes = shapes[0].integers("dim") if shapes else message.integers("input_dim")[:4]
    if not sizes:
        return (None, None, None, None)
    if len(sizes) != 4 or min(sizes) < 1:
        raise InputError(f"{where}: the input's shape is {sizes}; expected 1 3 height width")
    return (sizes[0], sizes[1], sizes[2], sizes[3])


def _source_shape(layer: Layer) -> tuple[int | None, int | None, int | None, int | None]:
    if layer.type == "Input":
        return _declared_shape(layer.fields.message("input_param"), "shape", str(layer))
    if layer.type == "MemoryData":
        memory = layer.fields.message("memory_data_param")
        sizes = [memory.integer(name, 0) or None for name in ("channels", "height", "width")]
        return (None, sizes[0], sizes[1], sizes[2])
    if layer.type == "DummyData":
        return _declared_shape(layer.fields.message("dummy_data_param"), "shape", str(layer))
    crop = layer.fields.message("transform_param").integer("crop_size", 0) or None
    return (None, None, crop, crop)


def _batch(source: Layer) -> int | None:
    for field_ in source.fields.fields:
        if isinstance(field_.value, Message) and field_.value.texts("batch_size"):
            return field_.value.integer("batch_size", 1)
    return None
