"""The program documents of tiers: what `shared.documents` does with them.

An apply holds the cursors of all followers still while it makes a version, so each event of the
feed meets the version of its place there.
A ladder that appears is noted with the instant from which the version counts: members who joined
before get its lowest level from then on.
"""

from datetime import datetime
from typing import TypeAlias

from guerdon.tiers.v1 import program_pb2 as pb
from services.tiers import program, store, tables
from services.tiers.ladders import LadderId, LadderStart, TiersProgram
from shared.database import Tx
from shared.documents import ProgramDocuments
from shared.programs import Programs, Versioned

SOURCE = "earning"
"""The service whose feed tiers follows."""

TiersPrograms: TypeAlias = Programs[TiersProgram]


def programs(partitions: int) -> TiersPrograms:
    """Versions of the documents of tiers, which follows earning."""
    return Programs(tables.kernel, program.parse, partitions=partitions, sources=(SOURCE,))


class Documents(ProgramDocuments[pb.TiersProgram, TiersProgram]):
    """Applies, publishes and reads the program documents."""

    kind = pb.TiersProgram

    def check(self, document: pb.TiersProgram) -> None:
        """Refuse InvalidProgram with everything that is wrong with a document."""
        program.check(document)

    async def took_effect(
        self,
        tx: Tx,
        before: Versioned[TiersProgram] | None,
        after: Versioned[TiersProgram],
        now: datetime,
    ) -> None:
        """Note the ladders that are new: they begin when the version counts."""
        del now
        await _begin_ladders(tx, before, after)


async def _begin_ladders(
    tx: Tx, before: Versioned[TiersProgram] | None, after: Versioned[TiersProgram]
) -> None:
    """Note since when the ladders of a new version have been there, and which have to be filled."""
    known = {each.ladder_id for each in before.program.ladders} if before else set[LadderId]()
    now = {each.ladder_id for each in after.program.ladders}
    await store.save_starts(
        tx,
        after.version.program_id,
        starts=starts_of(after),
        appeared=sorted(now - known),
        gone=sorted(known - now),
    )


def starts_of(version: Versioned[TiersProgram]) -> dict[LadderId, LadderStart]:
    """What a ladder's beginning is if it was first applied with this version."""
    return {
        ladder.ladder_id: LadderStart(
            start_time=version.version.publish_time,
            program_version=version.version.version,
            level_id=ladder.levels[0].level_id,
        )
        for ladder in version.program.ladders
    }
