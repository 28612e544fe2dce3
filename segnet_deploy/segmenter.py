"""Frames in, results out: `load(path)(frame)`; label maps: `segment`; every output: `run`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal, overload

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.geometry import (
    Placement,
    check_frame,
    fit_frame,
    place,
    restore_labels,
    restore_values,
)
from segnet_deploy.metadata import Metadata
from segnet_deploy.native.max_unpool import MAX_CLASSES, label_map
from segnet_deploy.passes.sampling_names import MAPS, UNCERTAINTY
from segnet_deploy.progress import Progress, silent
from segnet_deploy.results.result import Result, Times
from segnet_deploy.results.sources import Given, Source, in_batches, is_single, read_source
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.runtimes.loader import Rebuild
from segnet_deploy.runtimes.segmentation_model import complete_metadata, not_segmentation
from segnet_deploy.runtimes.temporary_model import ModelSource, TemporaryModel
from segnet_deploy.types import FITS, Array, Frame, Size


@dataclass(frozen=True)
class Prepared:
    """The model's input for some frames, and where each frame was placed in it."""

    x: Array
    placements: tuple[Placement, ...]


def load(
    path: ModelSource,
    runtime: str = "auto",
    fit: str = "stretch",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    progress: Progress = silent,
) -> Segmenter:
    """Open an exported ONNX file, or an engine of segnet-build, as a segmenter.

    `path` is the file's path, the name of a network of `list_pretrained` (a file of that name comes
    first), or an ONNX file's bytes, or a file object that returns them. `runtime` is auto, ncnn,
    openvino or onnxruntime, for ONNX files; `fit`, how a frame is fitted to the model's size, is
    stretch or letterbox; `threads` None leaves the number of CPU threads to the runtime. `rebuild`,
    for engines built for another version or GPU, is segnet_deploy.tensorrt_build.rebuild or None.
    What auto measured is reported to `progress`.

    Raises InputError, UnsupportedModelError, MissingDependencyError or EngineError.

    >>> with load("segnet.onnx", threads=2) as segmenter:
    ...     segmenter.size, segmenter.engine.device
    ((45, 61), 'cpu')
    >>> with load("demo") as segmenter:
    ...     segmenter.metadata.classes[:3]
    ('Sky', 'Building', 'Pole')
    """
    if fit not in FITS:
        raise InputError(f"fit {fit!r}; expected {' or '.join(FITS)}")
    if isinstance(path, (str, os.PathLike)):
        return Segmenter(runtimes.open(path, runtime, threads, rebuild, progress), fit=fit)
    model = TemporaryModel(path)
    with model.named() as file:
        segmenter = Segmenter(runtimes.open(file, runtime, threads, None, progress), fit=fit)
    segmenter._temporary = model
    return segmenter


class Segmenter:
    """A segmentation engine with its pre- and postprocessing. One instance per thread.

    `metadata` replaces what the engine's file records about itself. Raises UnsupportedModelError
    if the engine is not a segmentation model, InputError if the metadata does not fit it.

    >>> import numpy as np
    >>> frame = np.zeros((480, 640, 3), np.uint8)
    >>> with load("segnet.onnx") as segmenter:
    ...     labels = segmenter.segment(frame)
    >>> labels.shape, labels.dtype.name
    ((480, 640), 'uint8')
    >>> with load("segnet.onnx") as segmenter:
    ...     outputs = segmenter.run(frame)
    >>> {name: values.shape for name, values in outputs.items()}
    {'logits': (5, 480, 640), 'labels': (480, 640)}
    """

    def __init__(self, engine: Engine, metadata: Metadata | None = None, fit: str = "stretch"):
        self.engine = engine
        self.fit = fit
        self._temporary: TemporaryModel | None = None  # the file of a model given as bytes
        if not engine.inputs or not engine.outputs:
            raise not_segmentation(engine, "it has no input or no output")
        self._input = engine.inputs[0]
        if not any(key in self._input.dtype.name for key in ("float", "uint8")):
            raise not_segmentation(engine, f"its input is {self._input.dtype}")
        io = "frame" if self._input.dtype == np.uint8 else "tensor"
        self.metadata = complete_metadata(replace(metadata or engine.metadata, io=io), engine)
        shape = self._input.shape
        self._batch = shape[0]
        height, width = shape[1:3] if io == "frame" else shape[2:4]
        self._size = (height, width)
        border = [min(255, max(0, round(m))) for m in self.metadata.mean]
        self._border = border if self.metadata.channel_order == "bgr" else border[::-1]

    @property
    def size(self) -> tuple[int | None, int | None]:
        """The model's (height, width) in px; None where it is dynamic."""
        return self._size

    @property
    def batch(self) -> int | None:
        """Frames per call, or None where it is dynamic."""
        return self._batch

    @overload
    def __call__(self, source: Frame, stream: None = None) -> Result: ...
    @overload
    def __call__(self, source: Source, stream: Literal[True]) -> Iterator[Result]: ...
    @overload
    def __call__(self, source: Source, stream: Literal[False]) -> list[Result]: ...
    @overload
    def __call__(self, source: Source, stream: None = None) -> Any: ...

    def __call__(self, source: Source, stream: bool | None = None) -> Any:
        """Segment a frame, an image, a folder, a video, or a series of these.

        `source` is an (H, W, 3) uint8 BGR frame, a path, or an iterable of frames and paths. A
        frame or the path of an image gives a Result, a list or tuple a list of Results, and a
        folder, a video or another iterable an iterator, which segments each frame when it is asked
        for: a Result keeps its frame, and a list of a video would keep all of them. `stream` True
        gives an iterator for every source, False a list.

        Raises InputError for another source; UnreadableInputError for a file that cannot be read,
        from an iterator at its turn (`predict_files` goes on with the others).

        >>> with load("segnet.onnx") as segmenter:
        ...     [result.path.name for result in segmenter("data/images")]
        ['0.png', '1.png', '2.png']
        """
        single = is_single(source)
        batches = in_batches(read_source(source), self._batch or 1, None in self._size)
        results = (result for batch in batches for result in self._results(batch))
        if stream is False or (stream is None and isinstance(source, (list, tuple))):
            return list(results)
        return next(results) if stream is None and single else results

    def segment(self, frame: Frame) -> Frame:
        """Return the (H, W) uint8 labels of an (H, W, 3) uint8 BGR frame, at its own size."""
        return self.segment_batch([frame])[0]

    def run(self, frame: Frame) -> dict[str, Array]:
        """Return every output of the model for a frame, by name, and the label map as `labels`.

        The outputs have no batch axis. Maps of the input's size, (C, H, W) or (H, W), are fitted to
        the frame as the labels are, with nearest neighbours; others stay as the model returns them.
        """
        prepared = self.preprocess([frame])
        placement, target = prepared.placements[0], _input_size(prepared.x)
        raw = self.engine.run_all(prepared.x)
        label_output = raw[self.engine.outputs[0].name]
        found = {name: np.array(value[0]) for name, value in raw.items()}
        for name, value in found.items():
            if value.ndim > 1 and value.shape[-2:] == target:
                found[name] = restore_values(value, placement)
        return found | {"labels": self.postprocess(label_output, prepared.placements)[0]}

    @property
    def has_uncertainty(self) -> bool:
        """Whether the file samples its dropout, so that `segment_with_uncertainty` works."""
        return any(port.name == UNCERTAINTY for port in self.engine.outputs)

    def check_uncertainty(self) -> None:
        """Raise UnsupportedModelError unless the file samples its dropout."""
        if not self.has_uncertainty:
            raise UnsupportedModelError(
                "the file has no uncertainty map; export the network again with --mc-dropout"
            )

    def segment_with_uncertainty(
        self, frame: Frame, measure: str = UNCERTAINTY
    ) -> tuple[Frame, Array]:
        """Return the labels of a frame and their uncertainty, (H, W) float32, at its own size.

        `measure` is a map of `segment_with_maps`, which says what they are. Raises InputError for
        another one, and UnsupportedModelError if the file does not sample its dropout.
        """
        if measure not in MAPS:
            raise InputError(f"measure {measure!r}; expected {', '.join(MAPS)}")
        labels, maps = self.segment_with_maps(frame)
        return labels, maps[measure]

    def segment_with_maps(self, frame: Frame) -> tuple[Frame, dict[str, Array]]:
        """Return the labels of a frame, and maps of its size by name, (H, W) float32.

        The maps are `uncertainty`, the variance of the probabilities over the samples, averaged
        over the classes; `entropy` and `mutual_information`, in nats; `confidence`, the probability
        of the label. `segment` returns the same labels. Frame number n after loading uses the masks
        of frame n; `engine.masks` has their seed. Raises UnsupportedModelError if the file does not
        sample its dropout.
        """
        self.check_uncertainty()
        prepared = self.preprocess([frame])
        raw = self.engine.run_all(prepared.x)
        label_output = raw[self.engine.outputs[0].name]
        labels = self.postprocess(label_output, prepared.placements)[0]
        placement = prepared.placements[0]
        return labels, {name: restore_values(np.array(raw[name][0]), placement) for name in MAPS}

    def segment_batch(self, frames: Sequence[Frame]) -> list[Frame]:
        """Return the labels of each frame, in batches of the model's size.

        A model with dynamic size needs frames of one size per batch.
        """
        step = self._batch or max(1, len(frames))
        labels: list[Frame] = []
        for start in range(0, len(frames), step):
            prepared = self.preprocess(frames[start : start + step])
            labels += self.postprocess(self.infer(prepared.x), prepared.placements)
        return labels

    def preprocess(self, frames: Sequence[Frame]) -> Prepared:
        """Fit and normalise frames into the engine's input, (N, 3, H, W) or (N, H, W, 3)."""
        for frame in frames:
            check_frame(frame)
        target = self._target(frames)
        placements = tuple(place(_size(frame), target, self.fit) for frame in frames)
        rows = self._batch or len(frames)
        fitted = [
            fit_frame(frame, target, placement, self._border)
            for frame, placement in zip(frames, placements, strict=True)
        ]
        fitted += [fitted[-1]] * (rows - len(fitted))
        if self.metadata.io == "frame":
            return Prepared(np.stack(fitted), placements)
        x = np.empty((rows, 3, *target), self._input.dtype)
        for plane, frame in zip(x, fitted, strict=True):
            self._normalise(frame, plane)
        return Prepared(x, placements)

    def infer(self, x: Array) -> Array:
        """Run the engine; the result is valid until the next call."""
        return self.engine.run(x)

    def postprocess(self, raw: Array, placements: Sequence[Placement]) -> list[Frame]:
        """Turn logits (N, C, H, W) or labels (N, H, W) into label maps at source size."""
        if raw.ndim == 4:
            if raw.shape[1] > MAX_CLASSES:
                raise not_segmentation(self.engine, f"its output is {raw.shape}")
            maps = [label_map(raw[i]) for i in range(len(placements))]
        else:
            maps = [raw[i].astype(np.uint8, copy=False) for i in range(len(placements))]
        restored = []
        for labels, placement in zip(maps, placements, strict=True):
            bottom = placement.top + placement.size[0]
            if labels.shape[0] < bottom or labels.shape[1] < placement.left + placement.size[1]:
                raise not_segmentation(
                    self.engine, f"its output is {raw.shape}, smaller than its input"
                )
            result = restore_labels(labels, placement)
            # Copied if the labels are still in the engine's own memory.
            restored.append(result.copy() if np.shares_memory(result, raw) else result)
        return restored

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
        if self._temporary is not None:
            self._temporary.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _results(self, batch: Sequence[Given]) -> Iterator[Result]:
        """Yield the results of frames that go through the engine together."""
        clock = [perf_counter()]
        prepared = self.preprocess([given.frame for given in batch])
        clock.append(perf_counter())
        raw = self.engine.run_all(prepared.x)
        clock.append(perf_counter())
        labels = self.postprocess(raw[self.engine.outputs[0].name], prepared.placements)
        maps = raw[UNCERTAINTY] if self.has_uncertainty else None
        uncertain = [
            None if maps is None else restore_values(np.array(maps[number]), placement)
            for number, placement in enumerate(prepared.placements)
        ]
        clock.append(perf_counter())
        times = Times(*(1e3 * float(part) / len(batch) for part in np.diff(clock)))
        classes, palette = self.metadata.classes, self.metadata.palette
        for given, found, map_ in zip(batch, labels, uncertain, strict=True):
            origin = (given.path, given.index)
            yield Result(given.frame, found, classes, palette, times, *origin, map_)

    def _target(self, frames: Sequence[Frame]) -> Size:
        if self._size[0] is not None and self._size[1] is not None:
            return self._size[0], self._size[1]
        sizes = {_size(frame) for frame in frames}
        if len(sizes) > 1:
            raise InputError(
                f"frames of {len(sizes)} sizes in one batch of a model with dynamic size; "
                "segment them one by one"
            )
        (height, width), multiple = sizes.pop(), self.metadata.multiple
        return (
            self._size[0] or -(-height // multiple) * multiple,
            self._size[1] or -(-width // multiple) * multiple,
        )

    def _normalise(self, frame: Frame, plane: Array) -> None:
        order = (0, 1, 2) if self.metadata.channel_order == "bgr" else (2, 1, 0)
        for channel, source in enumerate(order):
            values = frame[..., source].astype(np.float32)
            values -= np.float32(self.metadata.mean[channel])
            values /= np.float32(self.metadata.std[channel])
            plane[channel] = values


def _input_size(x: Array) -> Size:
    """Return the (height, width) of an input, (N, H, W, 3) uint8 or (N, C, H, W) float."""
    height, width = x.shape[1:3] if x.dtype == np.uint8 else x.shape[2:4]
    return int(height), int(width)


def _size(frame: Frame) -> Size:
    return int(frame.shape[0]), int(frame.shape[1])
