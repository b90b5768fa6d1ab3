"""Which network interface a worker's process group uses: the one that Ray reaches the node by.

gloo asks the host's name, and on many machines /etc/hosts answers 127.0.0.1 or 127.0.1.1: workers on two
nodes then never meet.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

GET_ADDRESS = 0x8915  # SIOCGIFADDR, netdevice(7)


@dataclass
class Config(TorchConfig):
    """Ray's, with the interface named on each worker before its process group is made."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray starts on the workers."""
        return _Backend


class _Backend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(use_rays)
        super().on_start(worker_group, backend_config)


def use_rays() -> None:
    """Name the interface to gloo, unless the environment names one already."""
    name = interface_of(ray.util.get_node_ip_address())
    if name is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def interface_of(address: str) -> str | None:
    """The interface that has an IPv4 address; None where none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked.fileno(), GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:  # one without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
