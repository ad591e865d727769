"""Tells whoever waits for new events that some may be there.

Within a process a commit is told at once. Between the copies of a service on one PostgreSQL a
NOTIFY is sent, after the commit and on a connection of its own: inside the transaction it would
make every commit of the server queue for one lock. It is a hint that may be lost; whoever waits
looks again after a while anyway.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

import asyncpg
import structlog
from sqlalchemy import make_url

_NOTIFY_GAP = 0.02  # seconds between two NOTIFY; the commits in between share one
_RECONNECT = 1.0  # seconds between two attempts to connect
_TIMEOUT = 5.0  # seconds for one statement of the hints' connection

logger = structlog.get_logger(__name__)


class Wakeups:
    """One place where all streams of a service wait for commits."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._to_send = asyncio.Event()

    def committed(self) -> None:
        """Wake everybody here and hint the other copies; called after every commit."""
        self.wake()
        self._to_send.set()

    def wake(self) -> None:
        """Wake everybody in this process."""
        self._changed.set()
        self._changed = asyncio.Event()

    def mark(self) -> asyncio.Event:
        """Give what the next commit sets; taken before reading, so that none falls in between."""
        return self._changed

    async def exchange_hints(self, url: str, schema: str) -> None:
        """Exchange hints with the other copies on this PostgreSQL until cancelled.

        A connection that is lost is made anew.
        """
        while True:
            try:
                await self._exchange(url, f"guerdon_{schema}")
            except Exception as error:  # noqa: BLE001 - only hints: the poll carries on meanwhile
                logger.warning("feed_hints_lost", schema=schema, error=str(error))
            await asyncio.sleep(_RECONNECT)

    async def _exchange(self, url: str, channel: str) -> None:
        dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        settings = {"application_name": f"{channel} hints", "synchronous_commit": "off"}
        connection = cast(
            "_Listener",
            await asyncpg.connect(dsn, server_settings=settings, command_timeout=_TIMEOUT),
        )
        own = connection.get_server_pid()

        def hinted(_: object, sender: int, *__: object) -> None:
            if sender != own:
                self.wake()

        try:
            await connection.add_listener(channel, hinted)
            self.wake()  # for what was hinted while there was no connection
            await self._send(connection, channel)
        finally:
            connection.terminate()

    async def _send(self, connection: "_Listener", channel: str) -> None:
        sent = 0.0
        while True:
            await wait_for_change(self._to_send, _TIMEOUT)
            if not self._to_send.is_set():
                await connection.execute("SELECT 1")  # finds out that the server has gone
                continue
            await asyncio.sleep(max(0.0, sent + _NOTIFY_GAP - time.monotonic()))
            self._to_send.clear()
            await connection.execute("SELECT pg_notify($1, '')", channel)
            sent = time.monotonic()


async def wait_for_change(changed: asyncio.Event, seconds: float) -> None:
    """Wait for a mark to be set, at most so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return


class _Listener(Protocol):
    """What is used of an asyncpg connection."""

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...

    async def execute(self, query: str, *args: object) -> str: ...

    def get_server_pid(self) -> int: ...

    def terminate(self) -> None: ...
