"""Processes that verify the pieces of a large ledger, each on a core of its own.

A service that verifies goes on serving: it only hands out ranges and takes in what was found.
A helper is told what to do over its standard input, so that it ends with whoever started it, and
answers over its standard output; each message is JSON behind its length.
"""

import asyncio
import gc
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from typing import BinaryIO, TypedDict, cast

import orjson

from services.earning import documents
from services.earning.audit import Violation
from services.earning.auditing import Audited, Auditor, Stage
from services.earning.domain import ProgramId
from services.earning.store_audit import Range
from shared.database import Database
from shared.faults import ConnectionLost
from shared.rpc import loop

_COUNT_MAX = 4
_LENGTH = 8
_COLLECTED_EACH = 50
_BEGIN = f"import gc; gc.disable(); from {__name__} import main; main()"
"""Garbage is not looked for while modules are imported: a quarter of what that costs."""
_NICENESS = 5
"""Callers of the service come first."""
_ENDED = "a helper of the verification has ended"


class _Place(TypedDict):
    """Where the ledger is."""

    url: str
    schema: str


class _Piece(TypedDict):
    """What is to be verified."""

    stage: str
    program_id: str
    after: str
    upto: str | None


class _Answer(TypedDict):
    """What came of it."""

    count: int
    violations: list[dict[str, str]]


class Helpers:
    """Helpers of one verification, at most one for each core, started when they are needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted = 0
        self._processes: list[Process] = []
        self._idle: asyncio.Queue[Process] = asyncio.Queue()
        self.count = min(_COUNT_MAX, os.cpu_count() or 1)

    async def audit(self, stage: Stage, range_: Range) -> Audited:
        """Verify one piece in a helper; raises ConnectionLost when that has ended."""
        if self._idle.empty() and self._wanted < self.count:
            self._wanted += 1
            await self._start()
        helper = await self._idle.get()
        piece = _Piece(
            stage=stage.value,
            program_id=range_.program_id,
            after=range_.after,
            upto=range_.upto,
        )
        answer = cast("_Answer", await _asked(helper, orjson.dumps(piece)))
        self._idle.put_nowait(helper)
        violations = [Violation(**each) for each in answer["violations"]]
        return Audited(count=answer["count"], violations=violations)

    async def close(self) -> None:
        """End them, whatever they are doing: they only read."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        for process in self._processes:
            await process.wait()

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _BEGIN),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._processes.append(process)
        # Not as an argument: a password is for nobody's list of processes.
        place = _Place(url=self._database.url, schema=self._database.schema)
        _tell(process, orjson.dumps(place))
        self._idle.put_nowait(process)


def _tell(helper: Process, message: bytes) -> None:
    if helper.stdin is None or helper.stdin.is_closing():
        raise ConnectionLost(_ENDED)  # uvloop would raise RuntimeError, which nobody expects
    helper.stdin.write(len(message).to_bytes(_LENGTH) + message)


async def _asked(helper: Process, message: bytes) -> object:
    """The answer of a helper."""
    _tell(helper, message)
    if helper.stdout is None:
        raise ConnectionLost(_ENDED)
    try:
        length = int.from_bytes(await helper.stdout.readexactly(_LENGTH))
        return orjson.loads(await helper.stdout.readexactly(length))
    except (asyncio.IncompleteReadError, OSError) as error:
        raise ConnectionLost(_ENDED) from error


# In the helper -----------------------------------------------------------------------------------


def _read(source: BinaryIO) -> object:
    """The next message, None when whoever sends them has ended."""
    length = source.read(_LENGTH)
    return orjson.loads(source.read(int.from_bytes(length))) if len(length) == _LENGTH else None


async def _help(source: BinaryIO, answers: BinaryIO) -> None:
    """Answer one message after the other."""
    place = cast("_Place", _read(source))
    database = await Database.open(place["url"], schema=place["schema"], readers=1)
    auditor = Auditor(database, documents.programs(partitions=1))  # it applies none
    pieces = 0
    while (message := _read(source)) is not None:
        piece = cast("_Piece", message)
        range_ = Range(
            program_id=ProgramId(piece["program_id"]), after=piece["after"], upto=piece["upto"]
        )
        audited = await auditor.audit(Stage(piece["stage"]), range_)
        violations = [asdict(each) for each in audited.violations]
        answer = orjson.dumps(_Answer(count=audited.count, violations=violations))
        answers.write(len(answer).to_bytes(_LENGTH) + answer)
        answers.flush()
        pieces += 1
        if not pieces % _COLLECTED_EACH:
            gc.collect()
    await database.dispose()


def main() -> None:
    """Help until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    os.nice(_NICENESS)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what anything prints is no answer
        gc.freeze()  # pieces leave hardly any cycles; they are looked for now and then
        loop.run(_help(sys.stdin.buffer, answers))
