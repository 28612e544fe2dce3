"""Reading and checking plans and sidecars; the plans come from the real builder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import fuzz_engines
import numpy as np
import pytest

from segnet_deploy.cli import bench
from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.runtimes.base import StaleEngineError, is_engine_file
from segnet_deploy.runtimes.tensorrt import cuda_objects
from segnet_deploy.runtimes.tensorrt.device_arrays import device_array
from segnet_deploy.runtimes.tensorrt.library import load
from segnet_deploy.runtimes.tensorrt.plan import Plan, sidecar_path
from segnet_deploy.system.cuda_driver import device_count

pytestmark = pytest.mark.needs("tensorrt-rtx")
ROOT = Path(__file__).parents[2]
no_gpu = pytest.mark.skipif(device_count() > 0, reason="a GPU is here")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return fuzz_engines.make_files(tmp_path_factory.mktemp("plan"))


@pytest.fixture
def plan(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy of a plan with its sidecar, which tests may change."""
    copy = tmp_path / "segnet.trt"
    shutil.copy(made[1], copy)
    shutil.copy(sidecar_path(made[1]), sidecar_path(copy))
    return copy


def change(plan: Path, **entries: Any) -> None:
    known = json.loads(sidecar_path(plan).read_text())
    sidecar_path(plan).write_text(json.dumps(known | entries))


def test_plan_says_what_it_is(plan: Path) -> None:
    read = Plan.read(plan)
    assert is_engine_file(plan)
    assert read.kind == "tensorrt-rtx"
    assert read.version == read.sidecar["version"]  # header and builder agree
    assert read.metadata.io == "tensor"
    assert read.onnx is None
    (plan.parent / "segnet.onnx").write_bytes(b"")
    assert Plan.read(plan).onnx == plan.parent / "segnet.onnx"


def test_plan_without_sidecar_is_told_by_its_magic(plan: Path) -> None:
    sidecar_path(plan).unlink()
    read = Plan.read(plan)
    assert (read.kind, read.sidecar) == ("tensorrt-rtx", {})
    assert read.metadata.mean == (0.0, 0.0, 0.0)


def test_other_version_or_gpu_names_the_command(plan: Path) -> None:
    read = Plan.read(plan)
    read.check(read.version, (8, 6))
    with pytest.raises(
        StaleEngineError, match=r"10\.3\.0 is installed.*segnet-build segnet\.onnx -o"
    ):
        read.check("10.3.0", (8, 6))
    with pytest.raises(StaleEngineError, match=r"built for sm86.*this GPU is sm89.*--rebuild"):
        read.check(read.version, (8, 9))


def test_version_compatible_engine_runs_in_newer_versions(plan: Path) -> None:
    """TensorRT's own rule, here with a plan of TensorRT-RTX 1.7, which has no such engines."""
    change(plan, version_compatible=True)
    read = Plan.read(plan)
    for version in (read.version, "1.8.0", "1.10.0", "11.4.1"):
        read.check(version, (8, 6))
    assert "--version-compatible" in read.rebuild_command()
    with pytest.raises(StaleEngineError, match=r"1\.6\.9 is installed"):
        read.check("1.6.9", (8, 6))
    change(plan, version_compatible=False)
    with pytest.raises(StaleEngineError, match=r"1\.8\.0 is installed"):
        Plan.read(plan).check("1.8.0", (8, 6))


def test_engine_without_targets_runs_from_sm80_on(plan: Path) -> None:
    """TensorRT-RTX's default; TensorRT records the GPU of its build."""
    change(plan, targets=[])
    read = Plan.read(plan)
    for capability in ((8, 0), (8, 9), (12, 0), (12, 1)):
        read.check(read.version, capability)
    with pytest.raises(
        StaleEngineError,
        match=r"built for GPUs from sm80 on, but this GPU is sm75.*--target sm75",
    ):
        read.check(read.version, (7, 5))
    sidecar_path(plan).unlink()
    Plan.read(plan).check(read.version, (7, 5))  # nothing is known of its targets


@pytest.mark.parametrize("capability", [(9, 0), (10, 0), (10, 3)])
def test_tensorrt_rtx_on_a_data_centre_gpu_names_what_runs(
    plan: Path, capability: tuple[int, int]
) -> None:
    """An H200 refused every engine; to build again, as a stale engine is told, does not help."""
    read = Plan.read(plan)
    message = "does not run on this GPU.*--builder tensorrt"
    with pytest.raises(EngineError, match=message) as caught:
        read.check(read.version, capability)
    assert not isinstance(caught.value, StaleEngineError)


def test_engine_is_built_again_for_its_targets_or_this_gpu(plan: Path) -> None:
    change(plan, targets=["sm86", "sm89"])
    read = Plan.read(plan)
    assert read.rebuild_targets(None) == ("sm86", "sm89")  # no GPU here
    assert "--target sm86,sm89" in read.rebuild_command((8, 9))
    assert read.rebuild_targets((12, 0)) == ()
    assert read.rebuild_targets((7, 5)) == ("sm75",)


def test_missing_or_other_plugin_is_an_error(plan: Path) -> None:
    assert Plan.read(plan).plugin(None) is None
    change(plan, plugin={"namespace": "segnet", "version": "1"})
    with pytest.raises(EngineError, match="needs the plugin library, which is missing"):
        Plan.read(plan).plugin(None)
    assert Plan.read(plan).plugin(Path("lib.so")) == Path("lib.so")
    change(plan, plugin={"namespace": "segnet", "version": "99"})
    with pytest.raises(StaleEngineError, match="99"):
        Plan.read(plan).plugin(Path("lib.so"))


BAD = {
    "missing": (lambda p: p.unlink(), "no such file"),
    "empty": (lambda p: p.write_bytes(b""), "not a TensorRT plan, or is truncated"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-1000]), "truncated or was changed"),
    "no plan": (lambda p: p.write_bytes(b"PK\3\4" * 100), "not a TensorRT plan"),
    "no json": (lambda p: sidecar_path(p).write_text("{"), "not JSON"),
    "list": (lambda p: sidecar_path(p).write_text("[]"), "not a JSON object"),
    "type": (lambda p: change(p, targets="sm86"), "'targets' is 'sm86'"),
    "format": (lambda p: change(p, format=2), "has format 2"),
    "builder": (lambda p: change(p, builder="tensorrt"), "is a plan of tensorrt-rtx"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_plan_is_one_line(name: str, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, words = BAD[name]
    damage(plan)
    with pytest.raises(InputError, match=re.escape(words)):
        Plan.read(plan)
    assert bench.main(["--engine", str(plan)]) == 1
    assert capsys.readouterr().err.count("error: ") == 1


@no_gpu
def test_engine_without_gpu_is_one_line(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--engine", str(plan)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "GPU" in error or "cuda" in error


@pytest.mark.parametrize("seed", range(25))
def test_mutated_plan_or_sidecar_is_an_error(made: tuple[Path, Path], seed: int) -> None:
    assert fuzz_engines.check_load(made[1], seed) == ""


@pytest.mark.parametrize("seed", range(25))
def test_mutated_onnx_is_built_or_refused(made: tuple[Path, Path], seed: int) -> None:
    assert fuzz_engines.check_build(made[0], seed) == ""


def test_every_function_exists_in_cuda_python() -> None:
    """Functions are called by name, so each name is looked up in the real library."""
    files = (ROOT / "segnet_deploy/runtimes/tensorrt").glob("*.py")
    source = "".join(path.read_text() for path in files)
    names = set(re.findall(r'call\(\s*"(cuda\w+)"', source))
    assert len(names) > 15
    runtime = cuda_objects.runtime()
    assert [name for name in names if not hasattr(runtime, name)] == []
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    for name in cuda_objects.NO_DRIVER:
        assert hasattr(runtime.cudaError_t, name)


USED = {
    "IExecutionContext": "set_device_memory set_input_shape set_tensor_address get_tensor_shape "
    "execute_async_v3 is_stream_capturable update_device_memory_size_for_shapes profiler",
    "ICudaEngine": "create_runtime_config create_execution_context",
    "IRuntimeConfig": "set_execution_context_allocation_strategy cuda_graph_strategy "
    "dynamic_shapes_kernel_specialization_strategy",
    "ExecutionContextAllocationStrategy": "USER_MANAGED",
    "CudaGraphStrategy": "WHOLE_GRAPH_CAPTURE DISABLED",
    "DynamicShapesKernelSpecializationStrategy": "EAGER",
}


@pytest.mark.parametrize("kind", USED)
def test_every_member_exists_in_tensorrt_rtx(kind: str) -> None:
    """Engines are not loaded without a GPU, so each name is looked up in the real library."""
    members = dir(getattr(load("tensorrt-rtx").trt, kind))
    assert [name for name in USED[kind].split() if name not in members] == []


@no_gpu
def test_no_driver_is_said() -> None:
    with pytest.raises(EngineError, match=r"GPU responds|cannot be called"):
        cuda_objects.Stream()


class OnDevice:
    """A GPU array as another library presents it (CUDA Array Interface)."""

    def __init__(self, **facts: Any):
        self.__cuda_array_interface__ = {"data": (4096, False), "version": 3} | facts


def test_array_of_another_library_is_taken_without_a_copy() -> None:
    array = device_array(OnDevice(shape=(2, 3, 4), typestr="<f4", strides=(48, 16, 4)))
    assert (array.pointer, array.shape, array.dtype) == (4096, (2, 3, 4), np.float32)
    assert device_array(array) == array  # a session's result is accepted as input
    with pytest.raises(InputError, match=r"strides.*C order"):
        device_array(OnDevice(shape=(2, 3), typestr="<f4", strides=(4, 8)))
    with pytest.raises(InputError, match="list is not a GPU array"):
        device_array([1.0])
    with pytest.raises(InputError, match="is in host memory"):
        device_array(np.zeros((2, 3), np.float32))  # through DLPack
