"""HOST:PORT: resolve it, check whether other machines reach it, listen at it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

from segnet_deploy.errors import InputError, UsageError

_BACKLOG = 128
_EXPECTED = "expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"


@dataclass(frozen=True)
class Endpoint:
    """A resolved address to listen at; `text` is as the user wrote it."""

    text: str
    family: socket.AddressFamily
    address: Any  # argument of socket.bind

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        return self._ip.is_loopback

    def listen(self) -> socket.socket:
        """Return a listening socket. Raises InputError if the system refuses it."""
        listener = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(self.address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise InputError(f"cannot serve at {self.text}: {self._advice(error)}") from error
        return listener

    def url(self, port: int) -> str:
        """Return the page's URL; for a wildcard address, with this machine's name."""
        if self._ip.is_unspecified:
            return f"http://{socket.gethostname()}:{port}/"
        host = f"[{self._ip}]" if self._ip.version == 6 else str(self._ip)
        return f"http://{host}:{port}/"

    @property
    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(str(self.address[0]).partition("%")[0])

    def _advice(self, error: OSError) -> str:
        port = self.address[1]
        if error.errno == errno.EADDRINUSE:
            return f"port {port} is in use; stop the program that uses it, or choose another port"
        if error.errno == errno.EACCES:
            return f"port {port} needs root privileges; choose one above 1023"
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{self._ip} is not an address of this machine; see: ip addr"
        return error.strerror or str(error)


def resolve(text: str) -> Endpoint:
    """Read 'HOST:PORT' or 'PORT' (on 127.0.0.1). Raises UsageError, InputError."""
    head, colon, tail = text.strip().rpartition(":")
    host = head.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
    if not host or (":" in host and not head.startswith("[")):
        raise UsageError(f"address {text!r}; {_EXPECTED}")
    if not (tail.isascii() and tail.isdigit() and int(tail) <= 65535):
        raise UsageError(f"port {tail!r} in address {text!r}; {_EXPECTED}")
    try:
        found = socket.getaddrinfo(host, int(tail), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"no address for host {host!r} in {text!r}; {_EXPECTED}") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return Endpoint(text, family, address)
