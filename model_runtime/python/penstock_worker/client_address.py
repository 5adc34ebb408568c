"""Where a request came from, as uvicorn says it, which Truss's server runs on."""

from __future__ import annotations

import ipaddress
import os
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

_SCHEMES = {"http", "https", "ws", "wss"}


class _Trusted:
    """Peers whose x-forwarded-for and x-forwarded-proto are believed: an environment variable of
    uvicorn's, with addresses, networks, or * for all."""

    def __init__(self, text: str):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self.everybody = "*" in parts
        self._networks: List[Any] = []
        self._names = set()
        for part in parts:
            try:
                self._networks.append(ipaddress.ip_network(part))
            except ValueError:
                self._names.add(part)

    def __contains__(self, host: str) -> bool:
        if self.everybody:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host in self._names
        return any(address in network for network in self._networks)


@lru_cache(maxsize=1)
def _trusted() -> _Trusted:
    return _Trusted(os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"))


def forwarded(
    headers: List[Tuple[bytes, bytes]], client: Optional[Tuple[str, int]]
) -> Dict[str, Any]:
    """What of "client" and "scheme" the peer, if it is trusted, says otherwise."""
    trusted = _trusted()
    if client is None or client[0] not in trusted:
        return {}
    said: Dict[str, Any] = {}
    hosts = _list(headers, b"x-forwarded-for")
    if hosts:
        strangers = [host for host in hosts if host not in trusted]
        said["client"] = (strangers[-1] if strangers else hosts[0], 0)
    schemes = _list(headers, b"x-forwarded-proto")
    if len(schemes) == 1 and schemes[0] in _SCHEMES:
        said["scheme"] = schemes[0]
    return said


def _list(headers: List[Tuple[bytes, bytes]], name: bytes) -> List[str]:
    """The elements of a field that may come in several lines."""
    lines = [value.decode("latin-1") for key, value in headers if key == name]
    return [each.strip() for line in lines for each in line.split(",") if each.strip()]
