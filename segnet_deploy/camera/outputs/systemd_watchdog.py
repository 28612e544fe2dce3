"""Report to systemd that the loop is alive (sd_notify: datagrams to NOTIFY_SOCKET)."""

from __future__ import annotations

import os
import socket

from segnet_deploy.camera.result import Result, Status


class SystemdWatchdog:
    """Sends READY with the first status, then the status and a keep-alive about once per second.

    The keep-alive stops while the engine hangs on one frame (`Status.engine_responds`), so that
    systemd restarts the service. A lost source does not stop it. Without NOTIFY_SOCKET in the
    environment nothing is sent.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False

    def show(self, result: Result) -> None:
        """Ignore the result."""

    def report(self, status: Status) -> None:
        """Send the status, and the keep-alive if the engine responds."""
        lines = [] if self._is_ready else ["READY=1"]
        self._is_ready = True
        rate, age = status.frames_per_second, status.age * 1000
        lines.append(f"STATUS={status.state}, {rate:.1f} fps, age {age:.0f} ms")
        if status.engine_responds:
            lines.append("WATCHDOG=1")
        self._send(lines)

    def close(self) -> None:
        """Send that the service stops."""
        self._send(["STOPPING=1"])

    def _send(self, lines: list[str]) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # Linux's abstract namespace
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0.1)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return  # systemd is gone
