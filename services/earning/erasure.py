"""Blanks what answers, refusals, events and activities still say of erased members.

`EraseMember` itself removes identifiers and profile; a job does the rest, a piece at a time, and
may be stopped and begun again anywhere: the member stays due until all of it is done. The names
that refusals are searched for are learned from the feed, which is blanked last.
With an activity goes what callers wrote of reversals that came before it. The books are not
touched: they know the key alone, and the reasons that entries were booked for.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import cast

from services.earning import store_erasure, store_members, wire_members
from services.earning.commands import RECORD_ACTIVITY
from services.earning.world import MemberPlace
from shared import record
from shared.database import Database, Row
from shared.ids import partition_of
from shared.jobs import Job

_PIECE = 500
_MEMBERS = 20
_NAMING = ("guerdon.earning.v1.MemberEnrolled", "guerdon.earning.v1.MemberChanged")
_TELLING = (*_NAMING, "guerdon.earning.v1.ActivityRecorded")
_BLANK = ""


class Erasure:
    """Finishes what erasures began."""

    def __init__(self, database: Database, partitions: int) -> None:
        self._database = database
        self._partitions = partitions

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="scrub_erased_members", due=self.due, run=self.run)

    async def due(self) -> int:
        """Number of erased members of whom something may be left."""
        async with self._database.reading() as tx:
            return await store_erasure.due_count(tx)

    async def run(self) -> int:
        """Scrub some members; how many it did."""
        async with self._database.reading() as tx:
            places = await store_erasure.due(tx, _MEMBERS)
        for place in places:
            await self._scrub(place)
        return len(places)

    async def _scrub(self, place: MemberPlace) -> None:
        async with self._database.reading() as tx:
            keys = await store_members.family(tx, *place)
            members = await store_members.load(tx, [(place[0], key) for key in keys])
        for each, member in members.items():
            async with self._database.transaction() as tx:
                await store_erasure.blank_answers(tx, *each, record.dumps(member))
        for key in keys:
            for name in await self._names(key):
                await self._scrub_refusals(place[0], name)
            await self._scrub_activities((place[0], key))
            await self._scrub_events(key)
        async with self._database.transaction() as tx:
            await store_erasure.done(tx, place)

    async def _names(self, key: str) -> list[str]:
        """Every identifier that a member ever had, as far as the feed has not been blanked."""
        names: set[str] = set()
        async for page in self._events(key, _NAMING):
            for row in page:
                names.update(wire_members.scrubbed(row.type, bytes(row.payload))[1])
        return sorted(names)

    async def _scrub_refusals(self, program_id: str, name: str) -> None:
        inner = json.dumps(name, ensure_ascii=False)[1:-1]
        after = ("", "")
        while True:
            async with self._database.transaction() as tx:
                page = await store_erasure.refusals(
                    tx, program_id, inner, after=after, count=_PIECE
                )
                blanked = [(row, without(row.refusal, name)) for row in page]
                changed = [(row, text) for row, text in blanked if text != row.refusal]
                await store_erasure.save_refusals(tx, changed)
                refused = [row.request_id for row, _ in changed if row.scope == RECORD_ACTIVITY]
                await store_erasure.blank_waiting(tx, program_id, refused)
            if len(page) < _PIECE:
                return
            after = (page[-1].scope, page[-1].request_id)

    async def _scrub_activities(self, place: MemberPlace) -> None:
        after = ""
        while True:
            async with self._database.transaction() as tx:
                page = await store_erasure.activities(tx, place, after=after, count=_PIECE)
                names = [row.activity_id for row in page]
                await store_erasure.blank_waiting(tx, place[0], names)
                await store_erasure.save_activities(
                    tx, _changed(page, wire_members.without_attributes, lambda row: row.content)
                )
            if len(page) < _PIECE:
                return
            after = page[-1].activity_id

    async def _scrub_events(self, key: str) -> None:
        async for page in self._events(key, _TELLING):
            blanked = [
                (row, wire_members.scrubbed(row.type, bytes(row.payload))[0]) for row in page
            ]
            async with self._database.transaction() as tx:
                await store_erasure.save_events(
                    tx,
                    [
                        (row.partition, row.position, payload)
                        for row, payload in blanked
                        if payload != bytes(row.payload)
                    ],
                )

    async def _events(self, key: str, types: Sequence[str]) -> AsyncIterator[list[Row]]:
        after = 0
        partition = partition_of(key, self._partitions)
        while True:
            async with self._database.reading() as tx:
                page = await store_erasure.events(
                    tx, partition, key, types, after=after, count=_PIECE
                )
            yield page
            if len(page) < _PIECE:
                return
            after = page[-1].position


def _changed(
    page: Sequence[Row], blank: Callable[[bytes], bytes], of: Callable[[Row], bytes]
) -> list[tuple[Row, bytes]]:
    """Rows that blanking changes, with what becomes of them."""
    made = [(row, blank(bytes(of(row)))) for row in page]
    return [(row, content) for row, content in made if content != bytes(of(row))]


def without(refusal: str, name: str) -> str:
    """A stored refusal in which a name is blank wherever a field is that name."""
    stored = json.loads(refusal)
    if not any(name in part.values() for part in (stored["fields"], stored["metadata"])):
        return refusal
    for part in ("fields", "metadata"):
        fields = cast("Mapping[str, object]", stored[part])
        stored[part] = {key: _BLANK if value == name else value for key, value in fields.items()}
    stored["text"] = stored["text"].replace(name, _BLANK)
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
