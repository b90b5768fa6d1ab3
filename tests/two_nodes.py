"""Two Ray nodes on one machine, each in a network namespace of its own, as `ray start` makes them.

    python tests/two_nodes.py

starts them and a shell on the head, to try things by hand; leaving the shell ends everything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD, OTHER = "10.77.0.1", "10.77.0.2"
PORT = 6379
ADDRESS = f"{HEAD}:{PORT}"


def why_not() -> str | None:
    """Why this machine can't have them; None where it can."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "network namespaces need root and the program ip (iproute2)"
    probe = subprocess.run(["ip", "netns", "add", "rapl-probe"], capture_output=True, text=True)
    if probe.returncode:
        return f"no network namespaces here: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", "rapl-probe"], check=True)
    return None


class TwoNodes:
    """`head` and `other`, one namespace each; nothing runs until `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Ray's sockets need a short path; a folder each, as two machines have.
        self.scratch = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        self.spaces = {HEAD: f"ra{os.getpid()}", OTHER: f"rb{os.getpid()}"}
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),  # Ray's token and caches
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "180",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a gigabyte of processes
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.environment.pop("RAY_ADDRESS", None)
        self._connect()

    def _connect(self) -> None:
        a, b = self.spaces.values()
        pair = (f"va{os.getpid()}"[:15], f"vb{os.getpid()}"[:15])
        for name in (a, b):
            _ip("netns", "add", name)
        _ip("link", "add", pair[0], "netns", a, "type", "veth", "peer", "name", pair[1], "netns", b)
        for (address, space), link in zip(self.spaces.items(), pair, strict=True):
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "set", link, "up")

    def start(self, address: str, cpus: int = 1, hidden: Sequence[Path] = ()) -> None:
        """`ray start` there; the folders `hidden` are empty for that node: another machine's disk."""
        place = self.scratch / ("a" if address == HEAD else "b")
        role = f"--head --port {PORT}" if address == HEAD else f"--address {ADDRESS}"
        mounts = "".join(f"mount -t tmpfs none {shlex.quote(str(path))} && " for path in hidden)
        start = (
            f"ray start {role} --node-ip-address {address} --num-cpus {cpus} --num-gpus 0"
            f" --object-store-memory 100000000 --disable-usage-stats"
        )
        # A node that joins takes the head's temporary folder unless it is told its own.
        start += f" --temp-dir {place}"
        done = self.run(address, ["unshare", "-m", "bash", "-c", f"{mounts}{start}"], timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr

    def disk(self, address: str, path: Path) -> Path:
        """A folder of this machine as Ray sees it there."""
        daemon = next(
            pid
            for pid in self._pids(address)
            if b"raylet/raylet" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        return Path(f"/proc/{daemon}/root{path}")

    def _pids(self, address: str) -> list[str]:
        asked = ["ip", "netns", "pids", self.spaces[address]]
        return subprocess.run(asked, capture_output=True, text=True).stdout.split()

    def kill(self, address: str) -> None:
        """kill -9 for everything that runs there, as a machine that loses its power."""
        for _ in range(5):
            pids = self._pids(address)
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.2)

    def command(self, address: str, arguments: Sequence[str]) -> list[str]:
        """The arguments as run there."""
        return ["ip", "netns", "exec", self.spaces[address], *arguments]

    def run(
        self, address: str, arguments: Sequence[str], timeout: float = 600, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end."""
        return subprocess.run(
            self.command(address, arguments),
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def popen(self, address: str, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program there, its output in `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(address, arguments),
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    def close(self) -> None:
        """End and remove everything."""
        for address, space in self.spaces.items():
            self.kill(address)
            _ip("netns", "del", space)
        shutil.rmtree(self.scratch, ignore_errors=True)


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """Both nodes' namespaces for the block."""
    made = TwoNodes(folder)
    try:
        yield made
    finally:
        made.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def main() -> None:
    reason = why_not()
    if reason is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as home, two_nodes(Path(home)) as nodes:
        nodes.start(HEAD)
        nodes.start(OTHER)
        print(f"two nodes at {ADDRESS}: python -m orchestration.tune --space demo.yaml --address {ADDRESS}")
        subprocess.run(nodes.command(HEAD, ["bash"]), env=nodes.environment, cwd=ROOT)


if __name__ == "__main__":
    main()
