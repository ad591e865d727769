"""The program documents of earning: what `shared.documents` does with them.

An apply holds the cursors of all followers still while it makes a version, as in every service.
An activity is decided by the version that is in force at the instant of its batch, and its record
names it.
"""

from typing import TypeAlias

from guerdon.earning.v1 import program_pb2 as pb
from services.earning import program, tables
from services.earning.rules import Program
from shared.database import Tx
from shared.documents import ProgramDocuments
from shared.programs import Programs
from shared.versions import Versioned

EarningPrograms: TypeAlias = Programs[Program]

SOURCE = "tiers"
"""The one service that earning follows."""


def programs(partitions: int) -> EarningPrograms:
    """Versions of the documents of earning."""
    return Programs(tables.kernel, program.parse, partitions=partitions, sources=(SOURCE,))


class Documents(ProgramDocuments[pb.EarningProgram, Program]):
    """Applies, publishes and reads the program documents."""

    kind = pb.EarningProgram

    def check(self, document: pb.EarningProgram) -> None:
        """Refuse InvalidProgram with everything that is wrong with a document."""
        program.check(document)

    async def judge(
        self,
        tx: Tx,
        before: Versioned[Program] | None,
        document: pb.EarningProgram,
        merged: pb.EarningProgram,
    ) -> None:
        """Refuse InvalidProgram for currencies that are not those of before, or further ones."""
        del tx, document
        if before is not None:
            program.check_follows(merged, pb.EarningProgram.FromString(before.version.content))
