"""What a service supplies so that its commands can be executed in batches, and what it gets back.

`shared.batches` executes them and gives all of these names on.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, Never, Protocol, TypeAlias, TypeVar

from shared import errors
from shared.database import Tx
from shared.decision import Decision, Event, Intention
from shared.feed_log import FeedRecord
from shared.ids import MEMBER_KEY_CHARS, partition_of, partition_of_identifier
from shared.keys import RequestKey
from shared.values import value

_HEX = frozenset("0123456789abcdef")


class Command(Protocol):
    """A frozen dataclass of a service's domain: something that is asked for."""

    @property
    def program_id(self) -> str:
        """Program that it is about."""

    @property
    def request_key(self) -> RequestKey | None:
        """Idempotency key; None for what only an event or a job can ask for."""

    @property
    def routing(self) -> str:
        """Member's key, or the identifier that has none yet: what decides the partition."""


@value
class Followed:
    """An event of another service, and the commands that it means here (perhaps none).

    `event` is the whole message as bytes, kept if the event has to wait.
    `skipped` counts the positions just before this one that it covers too because they mean nothing
    here, so that a follower need not hand over every single one.
    `retry` marks a parked event that is tried again.
    """

    source: str
    partition: int
    position: int
    member_key: str
    event: bytes
    commands: tuple[Command, ...] = ()
    skipped: int = 0
    retry: bool = False


@value
class Outcome:
    """What a command was answered.

    `token` is `<service>:<partition>:<position>` of its last event in its own partition, "" without
    events; a repeated command gets the token of the first time.
    For a followed event `answer` is None, and `repeated` says that it had been applied before.
    """

    answer: object
    token: str = ""
    repeated: bool = False


def partition_of_item(item: "Item", partitions: int) -> int:
    """Partition that an item is routed to: its order of arrival is kept within it.

    A member's key says its partition; any other text is an identifier, which has that of its hash.
    """
    if isinstance(item, Followed):
        return item.partition
    routing = item.routing
    if len(routing) == MEMBER_KEY_CHARS and _HEX.issuperset(routing):
        return partition_of(routing, partitions)
    return partition_of_identifier(item.program_id, routing, partitions)


def weight_of_item(item: "Item") -> int:
    """How many decisions an item asks for, at least 1: what a batch's size is counted in.

    A command that asks for many at once has a `weight`; most have none and ask for one.
    """
    if isinstance(item, Followed):
        return max(1, len(item.commands))
    weight: int = getattr(item, "weight", 1)
    return max(1, weight)


C = TypeVar("C", bound=Command)


def told_awaited(command: C) -> C:
    """The command of a key that was reserved, told that something waits for it.

    Those for which something may have an `awaited` method that gives the same command, told so.
    """
    told: Callable[[], C] | None = getattr(command, "awaited", None)
    return command if told is None else told()


Item: TypeAlias = Command | Followed
Result: TypeAlias = Outcome | errors.Refusal


class World(Protocol):
    """State that a batch's commands are decided over: loaded once, kept up to date while folding.

    Any method `put(self, state: S)` fits, S being what the service's decisions have as state.
    """

    def put(self, state: Never, /) -> None:
        """Replaces what the decision has changed."""


W = TypeVar("W", bound=World)


@value
class Settled(Generic[C]):
    """One command and what was decided: `decision`, or `refusal` instead."""

    command: C
    decision: Decision[object, object] | None
    refusal: errors.Refusal | None
    followed: Followed | None

    @property
    def events(self) -> tuple[Event, ...]:
        """Events of the decision, none for a refusal."""
        return () if self.decision is None else self.decision.events

    @property
    def intentions(self) -> tuple[Intention, ...]:
        """Intentions of the decision, none for a refusal."""
        return () if self.decision is None else self.decision.intentions


@value
class Run(Generic[C]):
    """Everything that was decided in one batch, in order, for `Work.save`."""

    settled: Sequence[Settled[C]]
    now: datetime

    @property
    def decided(self) -> list[tuple[C, Decision[object, object]]]:
        """Commands that were not refused, with their decisions."""
        return [(each.command, each.decision) for each in self.settled if each.decision is not None]

    @property
    def refused(self) -> list[tuple[C, errors.Refusal]]:
        """Commands that were refused: they give back the business keys claimed for them."""
        return [(each.command, each.refusal) for each in self.settled if each.refusal is not None]

    @property
    def events(self) -> list[Event]:
        """All events, in order."""
        return [event for each in self.settled for event in each.events]


class Work(Protocol[C, W]):
    """What a service supplies: its `operations.py`."""

    async def load(self, tx: Tx, commands: Sequence[C], now: datetime) -> W:
        """Locks every aggregate that the commands name, then loads what hangs on it.

        Locks are `tx.select(lock=True)`, in one order of tables everywhere; a row that may not
        exist is inserted first.
        Business keys are claimed here, and what hangs on a locked row is read after the lock, in a
        statement of its own.
        """

    def decide(self, world: W, command: C, now: datetime) -> Decision[object, object]:
        """Decides one command over the world as it is now, or raises a refusal. Pure."""

    async def save(self, tx: Tx, world: W, run: Run[C]) -> None:
        """Writes what the run has changed, with one statement per table and kind."""

    def answer_type(self, command: C) -> type[object]:
        """Type of the command's answer, to read a stored one."""

    def event_to_feed(self, event: Event) -> FeedRecord:
        """Event as others will read it."""
