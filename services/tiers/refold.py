"""Folds the feed of earning anew and compares; what `verification.py` does between its reads.

Pure: events and what is stored are arguments.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias, TypeVar

from guerdon.feed.v1 import feed_service_pb2 as feed
from services.tiers import domain, wire
from services.tiers.domain import Command, InForce, Member
from services.tiers.ladders import (
    LadderId,
    LadderStart,
    Membership,
    MembershipChanged,
    Qualified,
    Standing,
)
from services.tiers.store_reads import Held

Place: TypeAlias = tuple[str, str, LadderId]
"""program_id, member_key, ladder_id"""


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must hold and does not."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPlace:
    """A version of the ladders, and how far each partition of the feed was when it came."""

    in_force: InForce
    places: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One partition as it is stored, in one snapshot; `versions` newest first, by program."""

    position: int
    incarnation: str
    versions: Mapping[str, Sequence[VersionPlace]]
    held: Mapping[str, Held]
    published: Mapping[Place, Sequence[bytes]]
    filled: frozenset[tuple[str, str]]
    parked: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Refolded:
    """One program's members of one partition, as the feed makes them."""

    members: dict[str, Member] = field(default_factory=dict)
    changes: dict[tuple[str, LadderId, int], MembershipChanged] = field(default_factory=dict)

    def note(self, changes: Sequence[object]) -> None:
        """Remember decisions by member, ladder and sequence."""
        for each in changes:
            if isinstance(each, MembershipChanged):
                self.changes[each.member_key, each.ladder_id, each.sequence] = each


def fold(
    refolded: dict[str, Refolded],
    stored: Stored,
    event: feed.Event,
    commands: Sequence[Command],
) -> None:
    """Decide one event again, with the ladders in force at its place in the feed."""
    in_force = next(
        (
            version.in_force
            for version in stored.versions.get(event.program_id, ())
            if version.places.get(event.partition, 0) < event.position
        ),
        None,
    )
    program = refolded.setdefault(event.program_id, Refolded())
    for command in commands:
        key = command.member_key
        member = program.members.get(key) or Member(program_id=event.program_id, member_key=key)
        if key in stored.parked:
            continue
        decision = domain.decide(in_force, member, command)
        program.members[key] = decision.state
        program.note(decision.events)


def compare(refolded: Mapping[str, Refolded], stored: Stored) -> Iterator[Violation]:
    """Everything that is stored otherwise than the feed makes it, program by program."""
    for program_id in sorted({*refolded, *stored.held}):
        program = refolded.get(program_id, Refolded())
        held = stored.held.get(program_id, Held())
        _enter_as_stored(program, held, stored.versions.get(program_id, ()))
        yield from _without_level(program_id, program, stored)
        for violation in _of_program(program_id, program, held, stored):
            if violation.subject.split("/")[1] not in stored.parked:
                yield violation


def _enter_as_stored(program: Refolded, held: Held, versions: Sequence[VersionPlace]) -> None:
    """Enter the ladders that came later where the job has: when it does so is not in the feed."""
    starts: Mapping[LadderId, LadderStart] = versions[0].in_force.starts if versions else {}
    for key, ladder_id in held.memberships:
        member, start = program.members.get(key), starts.get(ladder_id)
        if member is None or start is None or ladder_id in member.standings:
            continue
        changes: list[MembershipChanged] = []
        standing = domain.enter(Standing(ladder_id=ladder_id), start, member, changes)
        program.members[key] = domain.with_standing(member, standing)
        program.note(changes)


def _without_level(program_id: str, program: Refolded, stored: Stored) -> Iterator[Violation]:
    versions = stored.versions.get(program_id, ())
    for ladder in versions[0].in_force.program.ladders if versions else ():
        if (program_id, ladder.ladder_id) not in stored.filled:
            continue
        for key, member in program.members.items():
            if ladder.ladder_id not in member.standings and key not in stored.parked:
                yield Violation(
                    rule="member_has_level",
                    subject=f"{program_id}/{key}/{ladder.ladder_id}",
                    detail="the ladder is filled, and the member is not on it",
                )


def _of_program(
    program_id: str, program: Refolded, held: Held, stored: Stored
) -> Iterator[Violation]:
    joined: dict[tuple[str], datetime] = {}
    spend: dict[tuple[str, LadderId, date], int] = {}
    qualified: dict[tuple[str, LadderId, str], Qualified] = {}
    memberships: dict[tuple[str, LadderId], Membership] = {}
    for key, member in program.members.items():
        if member.enroll_time is not None:
            joined[key,] = member.enroll_time
        for ladder_id, standing in member.standings.items():
            if standing.membership is not None:
                memberships[key, ladder_id] = standing.membership
            spend |= {(key, ladder_id, day): each for day, each in standing.spend.items()}
            qualified |= {(key, ladder_id, id_): each for id_, each in standing.qualified.items()}
    stored_joins = {(key,): time for key, time in held.enroll_times.items()}
    yield from _differences("member_equals_feed", program_id, joined, stored_joins)
    yield from _differences("spend_day_equals_feed", program_id, spend, held.spend)
    yield from _differences("qualified_activity_equals_feed", program_id, qualified, held.qualified)
    yield from _differences("membership_equals_feed", program_id, memberships, held.memberships)
    yield from _differences("change_equals_feed", program_id, program.changes, held.changes)
    decided: dict[tuple[str, LadderId], list[bytes]] = {}
    for place in sorted(held.changes):
        message = wire.changed_to_proto(held.changes[place])
        said = message.SerializeToString(deterministic=True)
        decided.setdefault(place[:2], []).append(said)
    published = {
        (key, ladder_id): list(said)
        for (id_, key, ladder_id), said in stored.published.items()
        if id_ == program_id
    }
    for key, ladder_id in sorted({*decided, *published}):
        if decided.get((key, ladder_id)) != published.get((key, ladder_id)):
            yield Violation(
                rule="change_published",
                subject=f"{program_id}/{key}/{ladder_id}",
                detail=f"decided {len(decided.get((key, ladder_id), ()))} changes, published "
                f"{len(published.get((key, ladder_id), ()))}, and they are not the same",
            )


def _differences(
    rule: str, program_id: str, expected: Mapping[K, V], found: Mapping[K, V]
) -> Iterator[Violation]:
    """One violation per key whose values differ or that one side lacks."""
    for key in sorted({*expected, *found}, key=str):
        wanted, actual = expected.get(key), found.get(key)
        if wanted != actual:
            parts = key if isinstance(key, tuple) else (key,)
            yield Violation(
                rule=rule,
                subject="/".join([program_id, *(str(part) for part in parts)]),
                detail=f"expected {_told(wanted)}, found {_told(actual)}"[:1024],
            )


def _told(value: object) -> str:
    return "nothing" if value is None else str(value)
