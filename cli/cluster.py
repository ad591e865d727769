"""All four services in one process, on SQLite and Valkey below one data folder.

Each service has its own gRPC server and port, exactly as in a cluster; the addresses are written to
`addresses.json` in the data folder, so that other commands find them.
"""

import contextlib
import fcntl
import importlib
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli import valkey
from shared.rpc.server import Running
from shared.settings import BadSettings, ServiceSettings

SERVICES = ("earning", "tiers", "redemption", "gamification")
ADDRESSES_FILE = "addresses.json"
CLOCK_FILE = "clock_start"
"""In the data folder of a cluster on the simulated clock: the instant at which that clock began."""
_OURS = {
    *("guerdon.lock", "voucher.key", "valkey", "summary.json", "summary.part"),
    *(ADDRESSES_FILE, "addresses.part", CLOCK_FILE),
    *(f"{service}.db{end}" for service in SERVICES for end in ("", "-wal", "-shm", "-journal")),
}


class DataFolderInUse(Exception):
    """Another process serves this data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} is served by another process: use it (`guerdon` commands find it there), "
            "stop it, or choose another folder with --var"
        )


class NotOurs(Exception):
    """A folder holds what no cluster made; it is not deleted."""

    def __init__(self, folder: Path, strangers: Sequence[str]) -> None:
        names = ", ".join(strangers[:5])
        super().__init__(f"{folder} holds what no cluster made ({names}): nothing is deleted")


class CannotStart(Exception):
    """A service does not start; says which one, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster: where its services listen, and the Redis that its boards are in."""

    addresses: Mapping[str, str]
    redis_url: str


@asynccontextmanager
async def running(
    folder: Path, *, clock_start: str = "", ports: Mapping[str, int] | None = None
) -> AsyncIterator[Cluster]:
    """Serve the four services over a data folder until the context ends.

    `clock_start` (an ISO instant) runs them on the simulated clock, which continues where the
    folder's data left it, and so does whoever serves the folder later without saying so; `ports`
    fixes the services' ports, which are otherwise free ones. Raises DataFolderInUse or CannotStart.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before serving
    except OSError as error:
        raise CannotStart(f"{folder} cannot be the data folder: {error.strerror}") from error
    async with AsyncExitStack() as stack:
        stack.enter_context(_locked(folder))
        addresses_file = folder / ADDRESSES_FILE
        # One that was killed could not take it along.
        addresses_file.unlink(missing_ok=True)
        clock_start = clock_start or _clock_start_of(folder)
        redis = valkey.start(folder / "valkey", url=os.environ.get("GUERDON_REDIS_URL", ""))
        stack.callback(redis.stop)
        ports = ports or {}
        with reserved_ports([service for service in SERVICES if not ports.get(service)]) as free:
            addresses = {
                service: f"127.0.0.1:{free.get(service) or ports[service]}" for service in SERVICES
            }
            environment = _environment(folder, addresses, redis.url, clock_start, shared=free)
            for service in SERVICES:
                started = await _start(service, environment)
                stack.push_async_callback(started.stop)
        if clock_start:
            (folder / CLOCK_FILE).write_text(clock_start + "\n", encoding="utf-8")
        stack.callback(addresses_file.unlink, missing_ok=True)
        _write(addresses_file, json.dumps(addresses, indent=2) + "\n")
        yield Cluster(addresses=addresses, redis_url=redis.url)


async def start_service(service: str, environment: Mapping[str, str]) -> Running:
    """Start one service with the settings of an environment; the caller stops it."""
    return await _start(service, environment)


@contextmanager
def reserved_ports(names: Sequence[str]) -> Iterator[Mapping[str, int]]:
    """A free port for each name, which the system gives to nobody else while this is open.

    The services must know one another's addresses before the first of them listens; a port that
    was only seen to be free could be taken meanwhile.
    """
    with ExitStack() as stack:
        ports = {}
        for name in names:
            holder = stack.enter_context(socket.socket())
            # Ours may listen beside it, if it says the same.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            ports[name] = int(holder.getsockname()[1])
        yield ports


def is_served(folder: Path) -> bool:
    """Whether a process serves this data folder now."""
    try:
        with _locked(folder):
            return False
    except DataFolderInUse:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def has_data(folder: Path) -> bool:
    """Whether a cluster has kept its data in this folder, or the environment names databases."""
    return any(
        f"GUERDON_{service.upper()}_DATABASE_URL" in os.environ
        or (folder / f"{service}.db").exists()
        for service in SERVICES
    )


def remove(folder: Path) -> None:
    """Delete a data folder, if it is there; raises DataFolderInUse or NotOurs."""
    if not folder.exists():
        return
    if is_served(folder):
        raise DataFolderInUse(folder)
    strangers = [folder.name]
    if folder.is_dir():
        strangers = sorted(path.name for path in folder.iterdir() if path.name not in _OURS)
    if strangers:
        raise NotOurs(folder, strangers)
    shutil.rmtree(folder)


def addresses_of(folder: Path) -> Mapping[str, str]:
    """Where the services of a served data folder listen; empty while they are starting."""
    try:
        content = (folder / ADDRESSES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return {str(name): str(address) for name, address in json.loads(content).items()}


def configured_addresses() -> Mapping[str, str]:
    """The addresses that the environment names for a cluster elsewhere.

    Empty unless it names all four.
    """
    names = {service: f"GUERDON_{service.upper()}_ADDRESS" for service in SERVICES}
    found = {service: os.environ.get(name, "") for service, name in names.items()}
    return found if all(found.values()) else {}


def _environment(
    folder: Path,
    addresses: Mapping[str, str],
    redis_url: str,
    clock_start: str,
    *,
    shared: Collection[str],
) -> Mapping[str, str]:
    """The settings of this cluster over those of the process's environment.

    The services in `shared` listen on ports that this process has reserved.
    """
    environment = dict(os.environ)
    environment["GUERDON_REDIS_URL"] = redis_url
    environment.setdefault("GUERDON_REDEMPTION_SECRET_FILE", str(folder / "voucher.key"))
    environment.setdefault("GUERDON_LOG_LEVEL", "warning")
    if clock_start:
        environment["GUERDON_CLOCK"] = "simulated"
        environment["GUERDON_CLOCK_START"] = clock_start
    for service, address in addresses.items():
        name = service.upper()
        environment.setdefault(f"GUERDON_{name}_DATABASE_URL", f"sqlite:///{folder / service}.db")
        environment[f"GUERDON_{name}_LISTEN"] = address
        environment[f"GUERDON_{name}_REUSE_PORT"] = str(service in shared)
        environment[f"GUERDON_{name}_ADDRESS"] = address
    return environment


def settings_of(service: str, environment: Mapping[str, str]) -> ServiceSettings:
    """The settings of a service as an environment has them; raises CannotStart."""
    settings = importlib.import_module(f"services.{service}.settings")
    try:
        loaded: ServiceSettings = settings.load(environment)
    except BadSettings as error:
        raise CannotStart(f"{service} cannot start: {error}") from error
    return loaded


async def _start(service: str, environment: Mapping[str, str]) -> Running:
    settings = settings_of(service, environment)
    composition = importlib.import_module(f"services.{service}.service")
    try:
        started: Running = await composition.start(settings)
    except Exception as error:
        # What we raise ourselves, and the system's errors, say what is wrong; the rest is a fault.
        if isinstance(error, OSError) or type(error).__module__.startswith(
            ("shared.", "services.")
        ):
            raise CannotStart(f"{service} cannot start: {error}") from error
        raise
    return started


def _clock_start_of(folder: Path) -> str:
    """The simulated clock's beginning of a folder's data; empty when it is not on that clock."""
    file = folder / CLOCK_FILE
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def _write(file: Path, content: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    part = file.with_suffix(".part")
    part.write_text(content, encoding="utf-8")
    part.replace(file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the operating system gives back however the holder ends."""
    with (folder / "guerdon.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataFolderInUse(folder) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
