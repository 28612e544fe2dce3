"""A real Triton server: the repository that it loads, the client, faults, and a new version."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import triton_server

import segnet_deploy
from segnet_deploy import load
from segnet_deploy.camera import Camera
from segnet_deploy.cli import predict, triton
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.frames import encode_png
from segnet_deploy.runtimes.base import ServerUnavailableError
from segnet_deploy.scenes import draw_scene
from segnet_deploy.serving.repository import ServingOptions, write_repository

pytestmark = pytest.mark.needs("triton")
SIZES = ((45, 61), (45, 61), (60, 80), (31, 40))


@pytest.fixture(scope="module")
def repository(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "models"
    options = ServingOptions(runtime="onnxruntime", threads=1, images=True)
    write_repository(small_model, folder, options)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[triton_server.Server]:
    with triton_server.running(repository) as started:
        started.wait_until_ready("segnet_image")
        yield started


def frames() -> list[np.ndarray]:
    return [draw_scene(seed, *size).frame for seed, size in enumerate(SIZES)]


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "connection"])
def test_served_labels_are_those_of_the_file(
    shared: bool, server: triton_server.Server, small_model: Path
) -> None:
    with (
        load(f"grpc://127.0.0.1:{server.grpc}/segnet") as remote,
        load(small_model, "onnxruntime") as local,
    ):
        if not shared:
            remote.engine.stop_sharing()  # type: ignore[attr-defined]
        assert remote.metadata.classes == local.metadata.classes
        assert remote.metadata.palette == local.metadata.palette
        for frame in frames():
            assert np.array_equal(remote.segment(frame), local.segment(frame))


def test_predict_writes_the_same_files_through_a_server(
    server: triton_server.Server, small_model: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, frame in enumerate(frames()):
        (images / f"{number}.png").write_bytes(encode_png(frame))
    url = f"grpc://127.0.0.1:{server.grpc}/segnet"
    assert predict.main([str(images), "--server", url, "-o", str(tmp_path / "remote")]) == 0
    local = ["--engine", str(small_model), "--runtime", "onnxruntime"]
    assert predict.main([str(images), *local, "-o", str(tmp_path / "local")]) == 0
    written = sorted((tmp_path / "local").iterdir())
    assert len(written) == 2 * len(SIZES)
    for path in written:
        assert (tmp_path / "remote" / path.name).read_bytes() == path.read_bytes()


def test_image_model_answers_with_a_label_png(
    server: triton_server.Server, small_model: Path
) -> None:
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    client = grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")

    def ask(data: bytes) -> bytes:
        tensor = grpc.InferInput("image", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[data]], dtype=object))
        found: bytes = client.infer("segnet_image", [tensor]).as_numpy("png")[0, 0]
        return found

    frame = frames()[2]
    with load(small_model, "onnxruntime") as local:
        expected = local.segment(frame)
    labels = cv2.imdecode(np.frombuffer(ask(encode_png(frame)), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, expected)
    with pytest.raises(InferenceServerException, match="cannot decode image in the request"):
        ask(b"no image")
    assert ask(encode_png(frame))  # the next request is answered


def test_changed_file_is_refused_by_the_server(small_model: Path, tmp_path: Path) -> None:
    write_repository(small_model, tmp_path, ServingOptions(runtime="onnxruntime"))
    served = tmp_path / "segnet/1" / small_model.name
    served.write_bytes(served.read_bytes()[:-1])
    with triton_server.running(tmp_path) as started:
        end = time.monotonic() + 60
        while "is missing, or not the file that was put there" not in started.log.read_text():
            assert time.monotonic() < end, started.log.read_text()
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("grpc://127.0.0.1:{port}/street", InputError, "no ready model 'street'; it has segnet"),
        ("grpc://127.0.0.1:{port}/segnet/7", InputError, "no ready model"),
        ("grpc://127.0.0.1:{port}", InputError, "expected grpc://HOST:PORT/MODEL"),
        ("grpc://127.0.0.1/segnet", InputError, "expected grpc://HOST:PORT/MODEL"),
        ("grpc://127.0.0.1:{port}/segnet/new", InputError, "expected grpc://HOST:PORT/MODEL"),
        ("grpc://127.0.0.1:{port}/segnet_encode", UnsupportedModelError, "not a model of segnet"),
        ("grpc://127.0.0.1:1/segnet", ServerUnavailableError, "start the server, or check"),
    ],
)
def test_wrong_address_is_one_line(
    url: str, error: type[Exception], words: str, server: triton_server.Server
) -> None:
    with pytest.raises(error, match=words) as raised:
        load(url.format(port=server.grpc))
    assert "\n" not in str(raised.value)


def test_frame_of_another_type_is_refused_before_it_is_sent(server: triton_server.Server) -> None:
    with load(f"grpc://127.0.0.1:{server.grpc}/segnet") as remote:
        with pytest.raises(InputError, match="expected"):
            remote.segment(np.zeros((45, 61, 3), np.float32))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="input 'frame' got"):
            remote.engine.run(np.zeros((1, 45, 61, 4), np.uint8))


def test_new_version_takes_over_without_a_gap(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    options = ServingOptions(runtime="onnxruntime", threads=1)
    write_repository(small_model, folder, options)
    errors, answers, stop = list[str](), list[int](), threading.Event()

    def watch(url: str) -> None:
        with load(url) as remote:
            while not stop.is_set():
                try:
                    answers.append(int(remote.segment(frames()[0]).shape[0]))
                except Exception as error:
                    errors.append(str(error))

    with triton_server.running(folder, poll=True) as started:
        started.wait_until_ready("segnet")
        url = f"grpc://127.0.0.1:{started.grpc}/segnet"
        watcher = threading.Thread(target=watch, args=(url,))
        watcher.start()
        try:
            argv = [str(small_model), "-o", str(folder), "--runtime", "onnxruntime"]
            assert triton.main(argv) == 0
            assert "version 2" in capsys.readouterr().out
            started.wait_until_ready("segnet/versions/2")
            time.sleep(1.0)
        finally:
            stop.set()
            watcher.join()
    assert errors == []
    assert set(answers) == {45}


def test_camera_goes_on_after_the_server_was_killed(small_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    write_repository(small_model, folder, ServingOptions(runtime="onnxruntime", threads=1))
    with triton_server.running(folder) as started:
        started.wait_until_ready("segnet")
        ports = started.http, started.grpc
        camera = Camera(f"grpc://127.0.0.1:{ports[1]}/segnet", "synthetic", duration=90)
        results = camera.results()
        for _ in range(3):
            next(results)
        before = camera.status().shown
        started.process.kill()
    with triton_server.running(folder, ports=ports) as again:
        again.wait_until_ready("segnet")
        for result in results:
            if result.status.shown >= before + 5:
                break
        status = camera.status()
        assert result.age < 2.0  # the newest frame, not one from before
    assert status.engine_restarts == 0
    assert status.dropped > 0
    camera.close()


def test_configs_are_what_triton_defines(small_model: Path, tmp_path: Path) -> None:
    """The ONNX Runtime backend is not in the wheel's server: its config is only parsed."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    write_repository(small_model, tmp_path, ServingOptions(images=True, max_batch=4, instances=2))
    write_repository(small_model, tmp_path, ServingOptions(name="ort", backend="onnxruntime"))
    configs = {}
    for path in tmp_path.glob("*/config.pbtxt"):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        configs[path.parent.name] = config
    served = configs["segnet"]
    assert (served.max_batch_size, served.instance_group[0].count) == (4, 2)
    assert served.HasField("dynamic_batching")
    with segnet_deploy.load(small_model) as segmenter:
        classes = segmenter.metadata.classes
    assert json.loads(served.parameters["segnet.classes"].string_value) == list(classes)
    assert len(configs["segnet_image"].ensemble_scheduling.step) == 3
    assert configs["ort"].backend == "onnxruntime"
    libraries = configs["ort"].model_operations.op_library_filename
    assert [Path(library).is_file() for library in libraries] == [True]
