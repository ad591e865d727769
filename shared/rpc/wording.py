"""What is wrong with a field, in the words of whoever wrote it and with what would be right.

protovalidate speaks of regular expressions and of numbers of enum values; here they get words.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import descriptor
from google.protobuf.message import Message
from protovalidate import Violation as Found

if TYPE_CHECKING:  # the C implementation has types of its own
    from google._upb import _message

    Descriptor: TypeAlias = descriptor.Descriptor | _message.Descriptor
    EnumDescriptor: TypeAlias = descriptor.EnumDescriptor | _message.EnumDescriptor

_SHOWN_MAX = 40
_NAME = "is no name: write small letters, digits, - and _, "
_DAY = "is no day; write it as 2026-02-17"
_TIME = "is no time of the day; write it as 18:00, from 00:00 to 23:59"

PATTERNS: Mapping[str, str] = {
    "^[a-z][a-z0-9_-]*$": f"{_NAME}beginning with a letter, as in gold-week",
    "^(|[a-z][a-z0-9_-]*)$": f"{_NAME}beginning with a letter, as in gold-week",
    "^[a-z0-9][a-z0-9_-]*$": f"{_NAME}beginning with a letter or a digit, as in five-pounds",
    "^[a-z][a-z0-9_]*$": "is no name: write small letters, digits and _, beginning with a letter",
    "^[A-Z]{3}$": "is no code of money; write its three capital letters, as in EUR",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": _DAY,
    "^(|[0-9]{4}-[0-9]{2}-[0-9]{2})$": _DAY,
    "^(|([01][0-9]|2[0-3]):[0-5][0-9])$": _TIME,
    "^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": (
        "is no day of the year; write the month and the day, as in 03-31"
    ),
    "^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$": "is no month; write it as 2026-02",
    "^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$": "is no language; write it as de or pt-BR",
}
"""What each pattern of the protos asks for."""


def words(message: Message, found: Found) -> str:
    """What a violation of a message means."""
    proto = found.proto
    said = str(proto.message or proto.rule_id)
    match proto.rule_id:
        case "string.pattern":
            wanted = PATTERNS.get(str(found.rule_value), said)
            value = str(found.field_value)
            shown = value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}…"
            return f"{shown!r} {wanted}"
        case "string.min_len" if found.rule_value == 1:
            return "must be given: at least 1 character"
        case "enum.not_in":
            return f"must be given: one of {', '.join(_named(message, found))}"
        case "int64.not_in" | "int32.not_in":
            return "must not be 0" if list(found.rule_value or ()) == [0] else said
        case "required" if not _path(found)[-1][0]:
            return f"one of {', '.join(_choices(message, found))} must be given"
        case _:
            return said


def _path(found: Found) -> list[tuple[int, str]]:
    """The numbers and names of the fields that lead to what is wrong; a choice has no number."""
    path = found.proto.field
    return [(each.field_number, each.field_name) for each in path.elements] if path else []


def _holder(message: Message, found: Found) -> "Descriptor":
    """The message type whose field or choice a violation is about."""
    kind: Descriptor = message.DESCRIPTOR
    for number, _ in _path(found)[:-1]:
        inner = kind.fields_by_number[number].message_type
        if inner is None:
            break
        of_map = inner.fields_by_name["value"].message_type if _is_map(inner) else None
        kind = of_map or inner
    return kind


def _is_map(kind: "Descriptor") -> bool:
    return bool(kind.GetOptions().map_entry)


def _named(message: Message, found: Found) -> list[str]:
    """The values that an enum field may have."""
    number, _ = _path(found)[-1]
    kind = _holder(message, found).fields_by_number[number].enum_type
    refused = list(found.rule_value or ())
    return [each.name for each in kind.values if each.number not in refused] if kind else []


def _choices(message: Message, found: Found) -> list[str]:
    """The fields of which one must be given."""
    choice = _holder(message, found).oneofs_by_name[_path(found)[-1][1]]
    return [field.name for field in choice.fields]
