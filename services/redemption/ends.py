"""How callers learn that a redemption, or a cancellation, has come to its end.

Who ends it here tells the callers who wait here. A look into the database, one for all who wait,
finds what another copy of the service, or an earlier life of this one, has ended.
"""

import asyncio

from services.redemption import tables
from services.redemption.domain import Redemption
from shared import errors, record
from shared.database import Database
from shared.keys import Identity, RequestKey
from shared.logs import get_logger
from shared.work import Outcome

_LOOK_SECONDS = 0.1
_KEY = ("program_id", "scope", "request_id")

_log = get_logger(__name__)


class Ends:
    """The ends that are waited for. `run` is a task of the service."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[Identity, set[asyncio.Future[Outcome]]] = {}
        self._wanted = asyncio.Event()

    def tell(self, key: RequestKey, outcome: Outcome) -> None:
        """Tell those who wait here that a command with this key has committed."""
        for future in self._waiting.pop(key.identity, ()):
            if not future.done():
                future.set_result(outcome)

    async def wait(self, key: RequestKey, *, seconds: float, look: bool) -> Outcome:
        """Wait for the end under a key: the redemption as it was then, and its place in the feed.

        `look` looks into the database at once, for an end that may have been long ago.
        Refuses NotReady after `seconds`.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key.identity, set()).add(future)
        self._wanted.set()
        try:
            async with asyncio.timeout(max(seconds, 0)):
                if look:
                    await self._look([key.identity])
                return await future
        except TimeoutError:
            raise errors.NotReady(what=f"redemption {key.request_id}") from None
        finally:
            others = self._waiting.get(key.identity)
            if others is not None:
                others.discard(future)
                if not others:
                    del self._waiting[key.identity]

    async def run(self) -> None:
        """Look for the ends of all who wait, again and again while anybody does."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._waiting:
                self._wanted.clear()
                continue
            try:
                await self._look(list(self._waiting))
            except Exception:  # noqa: BLE001 - it may come back; those who wait have a deadline
                _log.exception("ends_not_read")

    async def _look(self, identities: list[Identity]) -> None:
        async with self._database.reading() as tx:
            rows = await tx.select(tables.kernel.request_keys, identities, key=_KEY)
        for row in rows:
            if row.answer is None:
                continue
            key = RequestKey(
                program_id=row.program_id,
                scope=row.scope,
                request_id=row.request_id,
                digest=row.digest,
            )
            token = "" if row.partition is None else f"redemption:{row.partition}:{row.position}"
            answer = record.loads(Redemption, row.answer)
            self.tell(key, Outcome(answer=answer, token=token, repeated=True))
