"""A server of the live view that is attacked, and whether it still serves."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.judge import Violation
from tools.bench.attacks.lab import Lab, wait_for

TIMEOUT = 20
"""A server that does not answer a plain request within so many seconds hangs."""
PEAK_MIB = 1000


class Server:
    """`vidstyle live browser --web` on a port of its own."""

    def __init__(self, lab: Lab) -> None:
        self.log = lab.root / "server.log"
        with self.log.open("w") as log:
            self.process = lab.start("live", "browser", "--web", "--port", 0, cwd=lab.root, stdout=log, stderr=log)
        if not wait_for(lambda: "http://" in self.log.read_text(), self.process):
            raise RuntimeError(f"the server did not start: {self.log.read_text()}")
        self.port = int(re.findall(r"http://127.0.0.1:(\d+)", self.log.read_text())[0])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_mib(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

    def udp_addresses(self) -> set[str]:
        """Local addresses, in hexadecimal, of the process's UDP sockets."""
        inodes = set()
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(path).removeprefix("socket:[").removesuffix("]"))
        rows = [r.split() for name in ("udp", "udp6") for r in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        return {row[1].partition(":")[0] for row in rows if row[9] in inodes}

    def head(self, method: str, path: str, **headers: str) -> bytes:
        """The first lines of a request, as from the server's own page."""
        lines = {"Host": f"127.0.0.1:{self.port}", "Origin": f"http://127.0.0.1:{self.port}", **headers}
        text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def health(server: Server) -> list[Violation]:
    if server.process.poll() is not None:
        return [Violation("crash", f"the server ended with {server.process.returncode}")]
    found = []
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            found.append(Violation("status", f"{status} for the page"))
    except (OSError, http.client.HTTPException) as error:
        found.append(Violation("hang", f"no page: {error!r}"))
        server.process.kill()
        server.process.wait()
        return found
    if (peak := server.peak_mib()) > PEAK_MIB:
        found.append(Violation("memory", f"{peak:.0f} MiB"))
    return found
