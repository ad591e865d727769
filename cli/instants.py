"""Instants as people write and read them: in a zone, to the minute."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


class NotAnInstant(Exception):
    """A text is no instant, or says not in which zone it is one."""


def parse(text: str, zone: ZoneInfo | None) -> datetime | None:
    """The instant that a text means, in `zone` unless it has an offset; None for no text.

    Raises NotAnInstant, also for a local time that the clocks leave out.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotAnInstant(f"{text!r} is no instant: write it as 2026-12-24T00:00") from error
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    if zone is None:
        raise NotAnInstant(f"no zone is known for {text}: give its offset, as in {text}+01:00")
    instant = found.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != found:
        raise NotAnInstant(f"{text} does not exist in {zone.key}: the clocks are set forward then")
    return instant


def zone_of(documents: Sequence[Message]) -> ZoneInfo | None:
    """The zone that a program's documents name first."""
    for document in documents:
        name = getattr(document, "time_zone", "")
        if name:
            try:
                return ZoneInfo(name)
            except (LookupError, ValueError, OSError):
                return None  # the service says what is wrong with it
    return None


def stamp(instant: datetime | None) -> Timestamp | None:
    """An instant as a message holds it."""
    if instant is None:
        return None
    made = Timestamp()
    made.FromDatetime(instant)
    return made


def text(shown: Timestamp) -> str:
    """An instant with its zone, which is UTC."""
    return f"{short(shown)} UTC"


def short(shown: Timestamp) -> str:
    """An instant below a heading that names UTC: to the minute."""
    return f"{shown.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M}"
