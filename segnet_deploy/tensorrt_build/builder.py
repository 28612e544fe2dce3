"""Build an engine: rewrite the ONNX file, build in a child process, check, write the sidecar."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segnet_deploy.errors import EngineError, SegNetError, UnsupportedModelError, UsageError
from segnet_deploy.files import atomic_path, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import contract
from segnet_deploy.passes.lower_unpooling import is_lowered
from segnet_deploy.passes.to_form import to_tensorrt_form
from segnet_deploy.passes.to_precision import precision_of, to_precision
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.runtimes.tensorrt.library import choose, linked_names
from segnet_deploy.runtimes.tensorrt.plan import Plan, sm
from segnet_deploy.runtimes.tensorrt.plugin_library import find_plugin
from segnet_deploy.runtimes.tensorrt.shape_ranges import Batches, Shape, Sizes
from segnet_deploy.system.child_process import ChildDiedError, ChildProcess
from segnet_deploy.system.cuda_driver import capability
from segnet_deploy.tensorrt_build.log import convolutions, wrong_precision
from segnet_deploy.tensorrt_build.profiles import profile
from segnet_deploy.tensorrt_build.request import BuildAnswer, BuildRequest

ANY_LAYOUT, CHANNELS_LAST = 0, 1
VERSIONED_RTX = (
    "--version-compatible: TensorRT-RTX has no lean runtime to put into an engine; its engines run "
    "in the version that built them. Keep the .onnx file next to the engine and load it with "
    "--rebuild, or use --builder tensorrt"
)


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    `builder` is auto, tensorrt or tensorrt-rtx. `precision` None keeps the file's own. `targets`
    are GPUs to build for without one, such as sm86 (TensorRT-RTX). `batch` and `sizes` give the
    minimum, optimum and maximum of dynamic dimensions, sizes as (height, width). `form` is
    plugin, lowered, or auto: plugin if its library is found. `plugin` is that library's path.
    `timing_cache` is a folder. `version_compatible` engines also run in newer versions of TensorRT:
    they contain its lean runtime.
    """

    builder: str = "auto"
    precision: str | None = None
    targets: tuple[str, ...] = ()
    batch: Batches | None = None
    sizes: Sizes | None = None
    workspace_bytes: int | None = None
    form: str = "auto"
    plugin: Path | None = None
    embed_plugin: bool = False
    timing_cache: Path | None = None
    version_compatible: bool = False


@dataclass(frozen=True)
class Built:
    """An engine that was written, and the builder's answer.

    `targets` is empty for an engine of TensorRT-RTX that runs on every GPU from sm80 on. `profiles`
    are the minimum, optimum and maximum shapes of a dynamic input.
    """

    path: Path
    kind: str
    form: str
    precision: str
    answer: BuildAnswer
    targets: tuple[str, ...] = ()
    profiles: dict[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)


def build(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: BuildOptions | None = None,
    progress: Progress = silent,
) -> Built:
    """Rewrite the ONNX file `source`, build it in a child process, write `target` and its sidecar.

    The sidecar, `target` + .json, records what the engine is and how it was built. Raises
    InputError, UnsupportedModelError, MissingDependencyError or EngineError; then neither file
    is written.

    >>> built = build("segnet.onnx", "segnet.trt", BuildOptions(targets=("sm86",)))
    >>> built.kind, built.precision
    ('tensorrt-rtx', 'fp32')
    """
    source, target = Path(source), Path(target)
    options = options or BuildOptions()
    kind = _kind(options)
    if source.resolve() == target.resolve():
        raise UsageError(f"-o {target} is the source itself; choose another name")
    own, lowered = inspect(source)
    precision = options.precision or own
    targets = _targets(kind, precision, options.targets)
    plugin = _plugin(options, lowered)
    form = "lowered" if plugin is None else "plugin"
    with tempfile.TemporaryDirectory() as name, atomic_path(target) as plan:
        folder = Path(name)
        rewritten = folder / "rewritten.onnx"
        ranges, plugin_layout = (options.batch, options.sizes), layout(kind, precision)
        metadata, profiles = prepare(source, rewritten, form, precision, ranges, plugin_layout)
        request = BuildRequest(
            str(rewritten),
            str(plan),
            kind,
            options.targets,
            profiles,
            options.workspace_bytes,
            None if plugin is None else str(plugin),
            options.embed_plugin,
            None if options.timing_cache is None else str(options.timing_cache),
            options.version_compatible,
        )
        answer = run_builder(request, folder, progress)
        check_precision(answer, precision, len(metadata.fp32_layers))
        sidecar = describe(source, plan, request, form, precision, metadata, answer)
        sidecar["targets"] = list(targets)
        with atomic_path(f"{target}.json") as description:
            description.write_text(json.dumps(sidecar, indent=2) + "\n", "utf-8")
    return Built(target, kind, form, precision, answer, targets, profiles)


def rebuild(path: str | os.PathLike[str], progress: Progress = silent) -> None:
    """Build an engine again in place, with its own options, from the ONNX file next to it.

    Raises what `build` raises. Loading calls it for an engine of another version or GPU if it is
    given as the callback: `load("segnet.trt", rebuild=rebuild)`.

    >>> _ = build("segnet.onnx", "segnet.trt", BuildOptions(targets=("sm86",)))
    >>> rebuild("segnet.trt")
    """
    path = Path(path)
    plan = Plan.read(path)
    if plan.onnx is None:
        raise EngineError(f"{path} has no ONNX file next to it; build it from its source again")
    batch, sizes = plan.ranges()
    options = BuildOptions(
        builder=plan.kind,
        precision=plan.sidecar["precision"],
        targets=plan.rebuild_targets(capability()),
        batch=batch,
        sizes=sizes,
        form=plan.sidecar["form"],
        embed_plugin=plan.embedded,
        version_compatible=plan.version_compatible,
    )
    build(plan.onnx, path, options, progress)


def _kind(options: BuildOptions) -> str:
    """Return tensorrt or tensorrt-rtx. Raises UsageError if that one does not know an option."""
    kind = choose(options.builder, bool(options.targets))
    if options.version_compatible and kind == "tensorrt-rtx":
        raise UsageError(VERSIONED_RTX)
    return kind


def _targets(kind: str, precision: str, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the GPUs that an engine is for: TensorRT builds for the one of this machine."""
    here = capability() if kind == "tensorrt" else None
    targets = targets if here is None else (sm(here),)
    if precision == "bf16" and "sm75" in targets:
        raise UsageError("--precision bf16, but sm75 has no bf16; use fp16, or targets from sm80")
    return targets


def _plugin(options: BuildOptions, lowered: bool) -> Path | None:
    """Return the plugin library to build with, or None for the lowered form."""
    form = "lowered" if options.form == "auto" and lowered else options.form
    if form != "lowered":
        plugin = find_plugin(options.plugin, required=form == "plugin")
        if plugin is not None:
            return plugin
    if options.embed_plugin:
        raise UsageError("--embed-plugin, but the engine has no plugin: give --form plugin")
    return None


def inspect(source: Path) -> tuple[str, bool]:
    """Return the precision of a file, and whether its pairs are lowered."""
    model = load_model(source)
    return precision_of(model), is_lowered(model)


def layout(kind: str, precision: str) -> int:
    """Return the only layout that the plugin is to accept, or ANY_LAYOUT.

    TensorRT-RTX uses the first layout that a plugin accepts, and transposes around it unless
    that is channels last, which it supports for fp32 and fp16. TensorRT times them all.
    """
    known = kind == "tensorrt-rtx" and precision in ("fp32", "fp16")
    return CHANNELS_LAST if known else ANY_LAYOUT


def prepare(
    source: Path,
    path: Path,
    form: str,
    precision: str,
    ranges: tuple[Batches | None, Sizes | None] = (None, None),
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
    """Return `model` in `form` and `precision`, with `plugin_layout` for its plugins.

    INT8 becomes symmetric, with plugins that work on integers.
    """
    model = to_tensorrt_form(model, form).model
    for node in model.graph:
        if node.domain == contract.DOMAIN and plugin_layout:
            node.attributes["layout"] = ir.AttrInt64("layout", plugin_layout)
    return to_precision(model, precision).model


def run_builder(request: BuildRequest, folder: Path, progress: Progress = silent) -> BuildAnswer:
    """Build in a child process; a crash there becomes an EngineError."""
    environment = {}
    if request.plugin is not None:
        names = folder / "libraries"
        names.mkdir()
        if linked_names(names):
            old = os.environ.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = f"{names}:{old}" if old else str(names)
    module = "segnet_deploy.tensorrt_build.build_process"
    with ChildProcess(module, environment=environment) as child:
        try:
            answer = child.ask("build", progress=progress, request=request.to_json())
        except ChildDiedError as error:
            raise EngineError(
                f"the {request.kind} builder failed: {error}; try another --builder, or report "
                "the file"
            ) from error
    return BuildAnswer(**answer)


def check_precision(answer: BuildAnswer, precision: str, kept: int = 0) -> None:
    """Raise EngineError if more than the `kept` layers are not in the requested precision."""
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
        "form": form,
        "precision": precision,
        "plugin": None if request.plugin is None else plugin_facts(request),
        "version_compatible": request.version_compatible,
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
    """Return what a loader must know about the plugin library of an engine."""
    path = Path(str(request.plugin))
    return {
        "file": path.name,
        "sha256": sha256(path),
        "namespace": contract.PLUGIN_NAMESPACE,
        "version": contract.PLUGIN_VERSION,
        "embedded": request.embed_plugin,
    }
