"""Several processes that serve one port, so that a service uses all cores of its host.

Each is `guerdon serve` as it would run alone; the system deals connections out to them
(SO_REUSEPORT). They know nothing of one another: what keeps copies of a service on several hosts
from doing a thing twice keeps these from it. When one ends, all end, and whoever supervises them
starts them anew.
"""

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from cli import cluster
from cli.children import dying_with_parent
from shared.connections import dialect_of
from shared.settings import ServiceSettings

_STOP_SECONDS = 10.0  # beyond the grace that a service gives its calls


class WorkerEnded(Exception):
    """A worker ended by itself, and the others were stopped; says how it ended."""


async def serve(services: Sequence[str], count: int, environment: Mapping[str, str]) -> NoReturn:
    """Run `count` processes, each serving all of `services`, until cancelled.

    They listen on the services' ports together; their metrics are on the ports that follow one
    another from each service's own. Raises cluster.CannotStart, or WorkerEnded.
    """
    settings = {service: cluster.settings_of(service, environment) for service in services}
    for service in services:
        _check(service, settings[service])
    grace = max(each.stop_grace for each in settings.values())
    with ExitStack() as stack:
        listens = {
            service: stack.enter_context(_held(service, settings[service].listen))
            for service in services
        }
        children: list[Process] = []
        try:
            for number in range(count):
                own = _environment(settings, listens, number)
                children.append(await _started(services, {**environment, **own}))
            waits = [asyncio.ensure_future(child.wait()) for child in children]
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            status = next(iter(done)).result()
            raise WorkerEnded(
                f"one of {count} workers ended with status {status}; its own words are above, "
                "and the others were stopped"
            )
        finally:
            await _stop(children, grace + _STOP_SECONDS)


def _check(service: str, settings: ServiceSettings) -> None:
    name = service.upper()
    if dialect_of(settings.database_url) == "sqlite":
        raise cluster.CannotStart(
            f"{service} cannot have several workers on SQLite, which has one writer: "
            f"set GUERDON_{name}_DATABASE_URL to postgresql://…, or leave --workers out"
        )
    if settings.clock == "simulated":
        raise cluster.CannotStart(
            f"{service} cannot have several workers on the simulated clock, which stands in one "
            "process: set GUERDON_CLOCK to system, or leave --workers out"
        )


@contextmanager
def _held(service: str, listen: str) -> Iterator[str]:
    """The address to listen on, kept from everybody but our own workers; its port is never 0."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM)[0]
        family, address = found[0], found[4]
        with socket.socket(family) as alone:
            # Another who shares the port, too, would be given some of our callers.
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
        holder = socket.socket(family)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except (OSError, ValueError) as error:
        raise cluster.CannotStart(f"{service} cannot listen on {listen}: {error}") from error
    with holder:
        yield f"{host}:{holder.getsockname()[1]}"


def _environment(
    settings: Mapping[str, ServiceSettings], listens: Mapping[str, str], number: int
) -> Mapping[str, str]:
    """What is different for one worker."""
    own: dict[str, str] = {}
    for service, each in settings.items():
        name = f"GUERDON_{service.upper()}"
        own[f"{name}_LISTEN"] = listens[service]
        own[f"{name}_REUSE_PORT"] = "true"
        if each.metrics_port:
            own[f"{name}_METRICS_PORT"] = str(each.metrics_port + number)
    return own


async def _started(services: Sequence[str], environment: Mapping[str, str]) -> Process:
    command = [*dying_with_parent(), sys.executable, "-m", "cli.main", "serve", *services]
    return await asyncio.create_subprocess_exec(*command, env=environment)


async def _stop(children: Sequence[Process], seconds: float) -> None:
    """End workers in good order, and after so many seconds in any."""
    running = [child for child in children if child.returncode is None]
    for child in running:
        child.terminate()
    try:
        async with asyncio.timeout(seconds):
            for child in running:
                await child.wait()
    except TimeoutError:
        for child in running:
            if child.returncode is None:
                child.kill()
