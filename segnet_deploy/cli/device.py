"""`--device`: where a model is run."""

from __future__ import annotations

import argparse
import os

from segnet_deploy.errors import UsageError
from segnet_deploy.runtimes.base import is_engine_file


def choose_device(arguments: argparse.Namespace) -> None:
    """Let this process and its children see only the GPU of --device, or none.

    CUDA reads the variable when its first library starts: call this before a model is opened.
    Raises UsageError if the model does not run on that device.
    """
    if arguments.device is None:
        return
    device, engine = f"--device {arguments.device}", arguments.engine
    name, _, number = arguments.device.lower().partition(":")
    if name not in ("cpu", "cuda") or (number and (name == "cpu" or not number.isdigit())):
        raise UsageError(f"{device}; expected cpu, cuda or cuda:N, such as cuda:0")
    files = [engine] if isinstance(engine, str) else engine or []
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order of nvidia-smi
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if name == "cpu" else number or "0"
    for file in files:
        if "://" in file:
            raise UsageError(f"{device}: {file} runs where its server runs; omit it")
        if name == "cpu" and is_engine_file(file):
            raise UsageError(f"{device}: {file} needs a GPU; give its .onnx file")
        if name == "cuda":
            _check_cuda(arguments, device, file)


def _check_cuda(arguments: argparse.Namespace, device: str, file: str) -> None:
    """Raise UsageError if there is no such GPU, or if nothing runs the ONNX file on it."""
    from segnet_deploy.runtimes import onnxruntime
    from segnet_deploy.system.cuda_driver import device_count

    if not device_count():
        raise UsageError(f"{device}: no such GPU answers; what works here: segnet-doctor")
    if is_engine_file(file):
        return
    if not onnxruntime.has_cuda() or arguments.runtime not in ("auto", "onnxruntime"):
        raise UsageError(
            f"{device}: ONNX files run on a GPU with --runtime onnxruntime and "
            f'"segnet-deploy[onnxruntime-gpu]", or as an engine: segnet-build {file}'
        )
    arguments.runtime = "onnxruntime"
