"""A real Triton server with the Python backend, from the wheel nvidia-pytriton.

The wheel needs an interpreter with numpy < 2, so the server and its models run in an environment
of their own, `.venv-triton`, made by `make triton`; SEGNET_TRITON_PYTHON names another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATHS = """
import sys, sysconfig, pytriton, numpy
assert numpy.__version__ < "2", numpy.__version__
print(pytriton.__path__[0])
print(sysconfig.get_config_var("LIBDIR"))
print("%d.%d" % sys.version_info[:2])
print(sysconfig.get_paths()["purelib"])
"""


def interpreter() -> Path:
    """Return the interpreter of the server's environment."""
    return Path(os.environ.get("SEGNET_TRITON_PYTHON", ROOT / ".venv-triton/bin/python"))


def missing() -> str:
    """Return why no server can be started, or nothing."""
    try:
        _paths()
    except (OSError, subprocess.CalledProcessError):
        return f"no nvidia-pytriton with numpy < 2 for {interpreter()}: make triton"
    return ""


@dataclass(frozen=True)
class Server:
    """The ports of a running server, its process and its log."""

    process: subprocess.Popen[bytes]
    http: int
    grpc: int
    log: Path

    def wait_until_ready(self, model: str = "", seconds: float = 60.0) -> None:
        """Wait until the server, and one of its models if named, is ready."""
        if model:
            self.wait_until_ready(seconds=seconds)
        path = f"v2/models/{model}/ready" if model else "v2/health/ready"
        end = time.monotonic() + seconds
        while True:
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=2),
            ):
                return
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < end, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)


@contextlib.contextmanager
def running(
    repository: Path, poll: bool = False, ports: tuple[int, int] = (0, 0)
) -> Iterator[Server]:
    """Start a server with the models in `repository`; `poll` lets it notice new versions."""
    package, libraries, version, site = _paths()
    http, grpc = (port or _free_port() for port in ports)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backend = folder / "backends/python"
        shutil.copytree(package / "tritonserver/backends/python", backend)
        stub = package / f"tritonserver/python_backend_stubs/{version}/triton_python_backend_stub"
        shutil.copy(stub, backend)
        command = [
            str(package / "tritonserver/bin/tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={folder / 'backends'}",
            f"--http-port={http}",
            f"--grpc-port={grpc}",
            *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1"),
            *("--allow-metrics=false", "--exit-on-error=false", "--exit-timeout-secs=5"),
            *(("--model-control-mode=poll", "--repository-poll-secs=1") if poll else ()),
        ]
        log = folder / "log"
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{site / 'nvidia_pytriton.libs'}:{libraries}",
            # The stub takes the interpreter that PATH names first, and ignores PYTHONPATH.
            "PATH": f"{interpreter().parent}:{os.environ['PATH']}",
        }
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            yield Server(process, http, grpc, log)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            process.kill()
            process.wait()


def _paths() -> tuple[Path, Path, str, Path]:
    command = [str(interpreter()), "-c", _PATHS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    package, libraries, version, site = done.stdout.split("\n")[:4]
    return Path(package), Path(libraries), version, Path(site)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
