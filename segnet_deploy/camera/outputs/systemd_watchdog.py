"""Tell systemd that the loop is alive (sd_notify: datagrams to NOTIFY_SOCKET)."""

from __future__ import annotations

import os
import socket

from segnet_deploy.camera.result import Result, Status

LONGEST_INFERENCE = 30.0


class Watchdog:
    """READY at the first state, then the state and a sign of life a second.

    There is no sign of life while the engine hangs at one frame: systemd then restarts the
    service. A lost source is no reason for that.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._ready = False

    def show(self, result: Result) -> None:
        """Frames are of no interest."""

    def tell(self, status: Status) -> None:
        """Send state and sign of life."""
        lines = [] if self._ready else ["READY=1"]
        self._ready = True
        rate, age = status.frames_per_second, status.age * 1000
        lines.append(f"STATUS={status.state}, {rate:.1f} fps, age {age:.0f} ms")
        if status.inferring < LONGEST_INFERENCE:
            lines.append("WATCHDOG=1")
        self._send(lines)

    def close(self) -> None:
        """Announce the end."""
        self._send(["STOPPING=1"])

    def _send(self, lines: list[str]) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # Linux's abstract name space
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0.1)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return  # systemd is gone: nobody to tell
