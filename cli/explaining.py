"""Why an activity earns what it earns: previews, and entries that were booked."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import grpc
from google.protobuf import json_format
from rich.console import Group, RenderableType
from rich.text import Text

from cli import instants, pages
from cli.peers import Peers
from guerdon.earning.v1 import activity_pb2, ledger_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from shared.errors import Refusal
from shared.rpc import client

Entry: TypeAlias = ledger_pb2.Entry
Story: TypeAlias = pb.ExplainEntryResponse
LATEST = 20
# What has a column of its own; whatever else an outcome says is told behind it.
_COLUMNS = {
    "rule_id",
    "matched",
    "reason",
    "points",
    "points_granted",
    "factor_numerator",
    "factor_denominator",
}
_TOLD = {
    "program_version",
    "level_id",
    "rules",
    "caps",
    "multiplier_numerator",
    "multiplier_denominator",
}


class NoSuchEntry(Exception):
    """The member's wallet has no entry of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What an activity would earn, or why it would be refused."""

    activity: activity_pb2.Activity
    record: activity_pb2.ActivityRecord | None = None
    refusal: Refusal | None = None

    def as_json(self) -> dict[str, object]:
        """The answer, or the refusal by reason and message."""
        if self.refusal is not None:
            said = {"reason": self.refusal.reason, "message": str(self.refusal)}
            return {"activity_id": self.activity.activity_id, "refused": said}
        return json_format.MessageToDict(self.record or activity_pb2.ActivityRecord())


async def preview(
    peers: Peers, program_id: str, activities: Sequence[activity_pb2.Activity]
) -> list[Previewed]:
    """Ask what each activity would earn now; nothing is recorded."""
    found: list[Previewed] = []
    for activity in activities:
        request = pb.PreviewActivityRequest(program_id=program_id, activity=activity)
        try:
            answer = await peers.earning.PreviewActivity(request)
        except grpc.aio.AioRpcError as error:
            refusal = client.refusal_of(error)
            if not refusal.reason or refusal.reason == "PROGRAM_NOT_FOUND":
                raise
            found.append(Previewed(activity=activity, refusal=refusal))
            continue
        found.append(Previewed(activity=activity, record=answer.record))
    return found


async def entries(
    peers: Peers, program_id: str, member_id: str, currency_id: str
) -> list[ledger_pb2.Entry]:
    """The latest entries of a member, newest first."""
    request = pb.ListEntriesRequest(
        program_id=program_id, member_id=member_id, currency_id=currency_id, page_size=LATEST
    )
    return list((await peers.earning.ListEntries(request)).entries)


async def explained(
    peers: Peers, program_id: str, member_id: str, currency_id: str, sequence: int
) -> Story:
    """Why an entry of a member was booked. Raises NoSuchEntry."""
    request = pb.ExplainEntryRequest(
        program_id=program_id, member_id=member_id, currency_id=currency_id, sequence=sequence
    )
    try:
        return await peers.earning.ExplainEntry(request)
    except grpc.aio.AioRpcError as error:
        if client.refusal_of(error).reason != "ENTRY_NOT_FOUND":
            raise
        raise NoSuchEntry(f"{member_id} has no entry {sequence}") from None


def story_json(story: Story) -> dict[str, object]:
    """An entry, with why it was booked as `lines`, and what else is stored of it."""
    said = json_format.MessageToDict(story)
    entry = said.pop("entry", {})
    return {**entry, **said}


def preview_page(previewed: Sequence[Previewed]) -> RenderableType:
    """What every activity would earn, rule by rule."""
    parts: list[RenderableType] = []
    for each in previewed:
        name = f"{each.activity.activity_id}: {each.activity.type} of {each.activity.member_id}"
        if each.record is None:
            why = f"{each.refusal.reason}: {each.refusal}" if each.refusal is not None else ""
            parts.append(Text(f"{name} would be refused: {why}", style="red"))
            continue
        unit = each.record.currency_id or "points"
        parts += [
            Text(f"{name} would earn {each.record.points:,} {unit}", style="bold"),
            *_explained(each.record.explanation),
        ]
        for further in each.record.further_earnings:
            parts += [
                Text(f"and {further.points:,} {further.currency_id}", style="bold"),
                *_explained(further.explanation),
            ]
    return Group(*parts)


def entries_table(listed: Sequence[ledger_pb2.Entry]) -> RenderableType:
    """A member's latest entries."""
    if not listed:
        return Text("No entry was booked yet.")
    table = pages.headed("entry", "booked, UTC", "what", "points", "available", "cause")
    for entry in listed:
        pages.add_row(
            table,
            str(entry.sequence),
            instants.short(entry.create_time),
            _name(entry),
            f"{_points(entry):+,}",
            f"{entry.points_available_after:,}",
            entry.activity_id or entry.reference or entry.reason,
        )
    return table


def entry_page(story: Story) -> RenderableType:
    """One entry: what it booked, and why."""
    entry = story.entry
    head = (
        f"entry {entry.sequence}, {_name(entry)} of {instants.text(entry.create_time)}: "
        f"{_points(entry):+,} points available, {entry.points_available_after:,} after it"
    )
    causes = [
        f"{word} {value}"
        for word, value in (
            ("activity", entry.activity_id),
            ("reference", entry.reference),
            ("reason:", entry.reason),
        )
        if value
    ]
    parts: list[RenderableType] = [Text(head, style="bold")]
    if causes:
        parts.append(Text(", ".join(causes)))
    if entry.HasField("explanation"):
        parts += _explained(entry.explanation)
    else:
        parts += [Text(line) for line in story.lines]
    return Group(*parts)


def _explained(explanation: activity_pb2.Explanation) -> Iterator[RenderableType]:
    words = [f"rules version {explanation.program_version}"]
    if explanation.level_id:
        words.append(f"level {explanation.level_id}")
    factor = _ratio(explanation.multiplier_numerator, explanation.multiplier_denominator)
    if factor:
        words.append(f"multiplied by {factor}")
    words += _rest(explanation, _TOLD)
    yield Text(", ".join(words))
    for cap in explanation.caps:
        period = f" of {cap.period}" if cap.period else ""
        cut = "; what is above is left out" if cap.cut else ""
        counted = f"{cap.points_counted:,} of {cap.points_left:,} points that were left"
        yield Text(f"{'cap' if cap.period else 'budget'} {cap.cap_id}{period}: {counted}{cut}")
    table = pages.headed("", "rule", "factor", "points", "why")
    for outcome in explanation.rules:
        more = _rest(outcome, _COLUMNS)
        if outcome.points not in {0, outcome.points_granted}:
            more.append(f"alone it would give {outcome.points:,}")
        pages.add_row(
            table,
            "✓" if outcome.matched else "·",
            outcome.rule_id,
            _ratio(outcome.factor_numerator, outcome.factor_denominator),
            f"{outcome.points_granted:,}" if outcome.matched else "",
            "; ".join([*([outcome.reason] if outcome.reason else []), *more]),
            style="" if outcome.matched else "dim",
        )
    yield table


def _rest(
    message: activity_pb2.Explanation | activity_pb2.RuleOutcome, told: Collection[str]
) -> list[str]:
    """What else a message says: the names of its fields, and their values."""
    said = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return [_words(name, value) for name, value in said.items() if name not in told]


def _words(name: str, value: object) -> str:
    """A field as words; what holds for no more than being there is only named."""
    text = _plain(value)
    return f"{name.replace('_', ' ')} {text}".rstrip() if value is not True else name


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_words(str(name), each) for name, each in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    text = str(value)
    return f"{int(text):,}" if re.fullmatch(r"-?\d{1,18}", text) else text


def _ratio(numerator: int, denominator: int) -> str:
    """A factor as people say it: x2, x1.5, or x4/3 where it has no short decimal form."""
    if not denominator:
        return ""
    ratio = Fraction(numerator, denominator)
    cents = ratio * 100
    return f"x{float(ratio):g}" if cents.denominator == 1 else f"x{ratio}"


def _points(entry: ledger_pb2.Entry) -> int:
    """Points that the entry made available, negative for those that it took."""
    return sum(
        each.points for each in entry.postings if each.account == ledger_pb2.ACCOUNT_AVAILABLE
    )


def _name(entry: ledger_pb2.Entry) -> str:
    known = ledger_pb2.EntryType.DESCRIPTOR.values_by_number.get(entry.type)
    return known.name.removeprefix("ENTRY_TYPE_").lower() if known is not None else "?"
