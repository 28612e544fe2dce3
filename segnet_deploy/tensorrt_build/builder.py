"""Build an engine: rewrite the ONNX file, run the child process, check, write the sidecar."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segnet_deploy.errors import (
    EngineError,
    InputError,
    MissingDependencyError,
    SegNetError,
    UnsupportedModelError,
    UsageError,
)
from segnet_deploy.files import atomic_path, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.native.find import find_library
from segnet_deploy.optional import require
from segnet_deploy.passes import contract
from segnet_deploy.passes.lower_unpooling import is_lowered
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_precision import precision_of, to_precision
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.runtimes.tensorrt.library import choose, linked_names
from segnet_deploy.tensorrt_build.log import convolutions, wrong_precision
from segnet_deploy.tensorrt_build.profiles import Sizes, profile
from segnet_deploy.tensorrt_build.request import BuildAnswer, BuildRequest, Shape

ANY_LAYOUT, CHANNELS_LAST = 0, 1


@dataclass(frozen=True)
class Built:
    """An engine that was written, with what its builder said."""

    path: Path
    kind: str
    form: str
    precision: str
    answer: BuildAnswer


def build(
    source: Path,
    target: Path,
    *,
    builder: str = "auto",
    precision: str | None = None,
    targets: tuple[str, ...] = (),
    batch: tuple[int, ...] | None = None,
    sizes: Sizes | None = None,
    workspace_bytes: int | None = None,
    form: str = "auto",
    plugin: Path | None = None,
    embed_plugin: bool = False,
    timing_cache: Path | None = None,
) -> Built:
    """Rewrite `source`, build it in a child process, and write `target` and its sidecar.

    `precision` is the file's own unless given. `form` is plugin, lowered, or auto: plugin where
    its library is found. `batch` and `sizes` (height, width) give the least, usual and largest of
    what is dynamic. `timing_cache` is a folder. The sidecar, `target` + .json, says what the
    engine is and how it was built. Raises InputError, UnsupportedModelError,
    MissingDependencyError or EngineError; then neither file is there.
    """
    kind = choose(builder, bool(targets))
    if source.resolve() == target.resolve():
        raise UsageError(f"-o {target} is the source itself; give another name")
    own, lowered = look_into(source)
    precision = precision or own
    if form == "auto" and lowered:
        form = "lowered"
    library = None if form == "lowered" else find_plugin(plugin, required=form == "plugin")
    form = "lowered" if library is None else "plugin"
    if embed_plugin and library is None:
        raise UsageError("--embed-plugin, but the engine has no plugin: give --form plugin")
    with tempfile.TemporaryDirectory() as name, atomic_path(target) as plan:
        folder = Path(name)
        metadata, profiles = prepare(
            source,
            folder / "rewritten.onnx",
            form,
            precision,
            (batch, sizes),
            layout(kind, precision),
        )
        request = BuildRequest(
            str(folder / "rewritten.onnx"),
            str(plan),
            str(folder / "answer.json"),
            kind,
            targets,
            profiles,
            workspace_bytes,
            None if library is None else str(library),
            embed_plugin,
            None if timing_cache is None else str(timing_cache),
        )
        answer = run_worker(request, folder)
        check_precision(answer, precision, len(metadata.fp32_layers))
        sidecar = describe(source, plan, request, form, precision, metadata, answer)
        with atomic_path(f"{target}.json") as description:
            description.write_text(json.dumps(sidecar, indent=2) + "\n", "utf-8")
    return Built(target, kind, form, precision, answer)


def find_plugin(path: Path | None, required: bool) -> Path | None:
    """Return the plugin library: `path`, or the one that was built into the package."""
    if path is not None:
        if not path.is_file():
            raise InputError(f"--plugin {path}: no such file; expected libsegnet_tensorrt.so")
        return path.resolve()
    found = find_library("segnet_tensorrt")
    if found is None and required:
        raise MissingDependencyError(
            "the plugin library is not installed: build it with CMake (TensorRT_ROOT and nvcc) and "
            "give --plugin, or use --form lowered"
        )
    return found


def look_into(source: Path) -> tuple[str, bool]:
    """Return the precision that a file is in, and whether its pairs are lowered."""
    model = load_model(source)
    return precision_of(model), is_lowered(model)


def layout(kind: str, precision: str) -> int:
    """Return the layout that the plugin is to insist on.

    TensorRT-RTX takes the first one that a plugin accepts, and transposes around it where
    that is not channels last, which it has for fp32 and fp16. TensorRT times them all.
    """
    known = kind == "tensorrt-rtx" and precision in ("fp32", "fp16")
    return CHANNELS_LAST if known else ANY_LAYOUT


def prepare(
    source: Path,
    path: Path,
    form: str,
    precision: str,
    ranges: tuple[tuple[int, ...] | None, Sizes | None] = (None, None),
    plugin_layout: int = ANY_LAYOUT,
) -> tuple[Metadata, dict[str, tuple[Shape, Shape, Shape]]]:
    """Write `source` in `form` and in `precision`; return its metadata and profiles.

    `ranges` are the batches and the sizes of the profile.
    """
    model = load_model(source)
    metadata = Metadata.from_props(dict(model.metadata_props))
    port = model.graph.inputs[0]
    shape = tuple(s if isinstance(s, int) else None for s in (port.shape or ()))
    if None in shape[1:] and form == "lowered":
        raise UsageError(
            f"the file has dynamic sizes {shape}; its lowered form would need tens of GB: use "
            "--form plugin, or export with a static --imgsz (a dynamic batch is fine)"
        )
    profiles = profile(str(port.name), shape, *ranges)
    try:
        ir.external_data.load_to_model(model)
        model = rewrite(model, form, precision, plugin_layout)
        ir.save(model, path)
    except (SegNetError, OSError):
        raise
    except Exception as error:  # a damaged file can break onnx-ir anywhere
        reason = str(error).strip().splitlines()
        raise UnsupportedModelError(
            f"{source} cannot be rewritten ({type(error).__name__}: {reason[0] if reason else ''}"
            "); it may be damaged: export it again"
        ) from error
    return metadata, profiles


def rewrite(model: ir.Model, form: str, precision: str, plugin_layout: int) -> ir.Model:
    """Return `model` in `form` and in `precision`; its plugins take `plugin_layout`.

    INT8 becomes symmetric, with plugins that work on integers.
    """
    model = to_form(to_symmetric_int8(model).model, form, integers=form == "plugin").model
    for node in model.graph:
        if node.domain == contract.DOMAIN and plugin_layout:
            node.attributes["layout"] = ir.AttrInt64("layout", plugin_layout)
    return to_precision(model, precision).model


def run_worker(request: Any, folder: Path) -> BuildAnswer:
    """Build in a child process, with a progress bar; a crash there becomes an EngineError."""
    question = folder / "request.json"
    request.write(question)
    environment = dict(os.environ)
    if request.plugin is not None:
        names = folder / "libraries"
        names.mkdir()
        if linked_names(names):
            old = environment.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = f"{names}:{old}" if old else str(names)
    command_line = [
        sys.executable,
        "-m",
        "segnet_deploy.tensorrt_build.build_process",
        str(question),
    ]
    bar = require("tqdm").tqdm(desc="building", file=sys.stderr, leave=False)
    with (
        bar,
        (folder / "stderr").open("w+") as errors,
        subprocess.Popen(
            command_line, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                done, total, *_ = [*line.split(), "", ""]
                if done.isdigit() and total.isdigit():
                    bar.total, bar.n = int(total), int(done)
                    bar.refresh()
        except KeyboardInterrupt:
            child.kill()
            raise
        status = child.wait()
        errors.seek(0)
        tail = [line for line in errors.read().splitlines() if line.strip()][-1:]
    answer_file = Path(request.answer)
    if not answer_file.is_file():
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise EngineError(
            f"the {request.kind} builder died ({how}): {' '.join(tail) or 'it said nothing'}; try "
            "another --builder, or report the file"
        )
    answer = BuildAnswer.read(answer_file)
    if answer.error:
        raise EngineError(answer.error)
    return answer


def check_precision(answer: BuildAnswer, precision: str, kept: int = 0) -> None:
    """Raise EngineError where more than the `kept` layers are not what was asked for."""
    count, wrong = convolutions(answer.layers), wrong_precision(answer.layers, precision)
    if not count:
        raise EngineError(
            "the builder listed no convolution, so its precision cannot be read back; no file "
            "was written"
        )
    if len(wrong) > kept:
        raise EngineError(
            f"{len(wrong)} of {count} convolutions were not built in {precision} "
            f"({', '.join(wrong[:3])}); no file was written"
        )


def describe(
    source: Path,
    plan: Path,
    request: BuildRequest,
    form: str,
    precision: str,
    metadata: Metadata,
    answer: BuildAnswer,
) -> dict[str, Any]:
    """Return the sidecar."""
    return {
        "format": 1,
        "builder": request.kind,
        "version": answer.version,
        "targets": list(request.targets),
        "form": form,
        "precision": precision,
        "plugin": None if request.plugin is None else plugin_facts(request),
        "onnx": source.name,
        "onnx_sha256": sha256(source),
        "plan_sha256": sha256(plan),
        "profiles": request.profiles,
        "ports": answer.ports,
        "activation_bytes": answer.activation_bytes,
        "weights_bytes": answer.weights_bytes,
        "build_seconds": answer.seconds,
        "layers": answer.layers,
        "metadata": metadata.to_props(),
    }


def plugin_facts(request: BuildRequest) -> dict[str, Any]:
    """Return what a loader needs to know about the plugin library that an engine was built with."""
    path = Path(str(request.plugin))
    return {
        "file": path.name,
        "sha256": sha256(path),
        "namespace": contract.PLUGIN_NAMESPACE,
        "version": contract.PLUGIN_VERSION,
        "embedded": request.embed_plugin,
    }
