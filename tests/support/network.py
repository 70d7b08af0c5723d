"""A network in which every packet that would leave the machine is recorded: for Linux, as root.

This module, run as a program, is the process that owns the network: a namespace with nothing but a loopback device and a tunnel,
through which everything else goes to this process. It answers name lookups, so that what follows them is seen too.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import ROOT, environment

HOST, NAME_SERVER, ANSWER = "198.51.100.2", "198.51.100.53", "203.0.113.9"
"""This machine, the name server, and the address that it gives for every name."""

_TUNNEL = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_TCP, _UDP, _DNS_PORT = 6, 17, 53


class WatchedNetwork:
    """The network, and processes in it. To be closed."""

    def __init__(self) -> None:
        missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
        if missing or not _TUNNEL.exists() or os.geteuid() != 0:
            pytest.skip("needs Linux, root, /dev/net/tun, unshare, nsenter and ip to record packets")
        self.packets: list[str] = []
        """What was sent: the name that was looked up, or protocol, address and port."""
        self._packet_sent = threading.Event()
        self._processes: list[subprocess.Popen[str]] = []
        self._watcher = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._watcher.stdout is not None
        if self._watcher.stdout.readline() != "ready\n":
            pytest.skip(f"cannot make a network to record packets in: {self._watcher.communicate()[1].strip()[-300:]}")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._watcher.stdout is not None
        for line in self._watcher.stdout:
            self.packets.append(line.rstrip())
            self._packet_sent.set()

    def start(self, *words: object, cwd: Path, home: Path, **variables: str) -> subprocess.Popen[str]:
        """Start a command line in the network, with a home folder of its own and without any setting about telemetry."""
        enter = ["nsenter", "--target", str(self._watcher.pid), "--net", "--mount", f"--wd={cwd}"]
        home.mkdir(exist_ok=True)
        env = environment(HOME=str(home), **variables)
        env = {name: value for name, value in env.items() if not name.startswith(("ORT_", "RAY_", "XDG_"))}
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process: subprocess.Popen[str] = subprocess.Popen([*enter, *map(str, words)], env=env, text=True, **options)
        self._processes.append(process)
        return process

    def is_quiet_for(self, seconds: float) -> bool:
        """Whether no packet is sent in so many seconds; returns False at the first."""
        return not self._packet_sent.wait(seconds)

    def close(self) -> None:
        """End the processes and the network; `packets` is complete afterwards."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        self._watcher.wait()
        self._reader.join()


def _main() -> None:
    import fcntl

    tunnel = os.open(_TUNNEL, os.O_RDWR)
    fcntl.ioctl(tunnel, _TUNSETIFF, struct.pack("16sH", b"out", _IFF_TUN | _IFF_NO_PI))
    Path("/proc/sys/net/ipv6/conf/out/disable_ipv6").write_text("1")  # of which the kernel itself sends packets
    for words in ("link set lo up", f"addr add {HOST}/24 dev out", "link set out up", "route add default dev out"):
        subprocess.run(["ip", *words.split()], check=True)
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write(f"nameserver {NAME_SERVER}\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
        threading.Thread(target=_watch, args=(tunnel,), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()


def _watch(tunnel: int) -> None:
    while True:
        packet = os.read(tunnel, 1 << 16)
        header, protocol = packet[0] % 16 * 4, packet[9]
        port = struct.unpack_from("!H", packet, header + 2)[0] if protocol in (_TCP, _UDP) else 0
        if (protocol, port) == (_UDP, _DNS_PORT):
            query = packet[header + 8 :]
            os.write(tunnel, _reply(packet, header, query))
            print("lookup of", _name(query), flush=True)
        else:
            print(f"protocol {protocol} to {socket.inet_ntoa(packet[16:20])}:{port}", flush=True)


def _name(query: bytes) -> str:
    """The name in a DNS query: after a header of 12 bytes come labels, each with its length before it, up to an empty one."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels)


def _reply(packet: bytes, header: int, query: bytes) -> bytes:
    """An IPv4 packet with the answer to a DNS query: `ANSWER` for an IPv4 address, nothing for other records."""
    question = query[12 : 12 + len(_name(query)) + 2 + 4]
    is_address = question[-4:-2] == b"\0\1"
    answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(ANSWER) if is_address else b""
    message = query[:2] + struct.pack("!HHHHH", 0x8180, 1, is_address, 0, 0) + question + answer
    client_port = struct.unpack_from("!H", packet, header)[0]
    datagram = struct.pack("!HHHH", _DNS_PORT, client_port, 8 + len(message), 0) + message
    fields = [0x45, 0, 20 + len(datagram), 0, 0, 64, _UDP, 0, packet[16:20], packet[12:16]]
    layout = "!BBHHHBBH4s4s"
    total = sum(struct.unpack("!10H", struct.pack(layout, *fields)))
    fields[7] = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack(layout, *fields) + datagram


if __name__ == "__main__":
    _main()
