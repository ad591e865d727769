"""What differs between two versions of a program document, and what an apply makes of it.

A document is any protobuf message. Its lists are compared by identity where their elements have
one: the key of an element is the first of its string fields whose name ends in ``_id``, so that
moving or inserting an element is not read as a change of all that follow. Lists without such a key,
or in which a key repeats, are compared by position.

What is no longer in the new document is always listed, and removed only with ``prune``: a designer
who applies a part of the files, or an older checkout, must not delete what a colleague added. The
rule covers the elements of keyed lists that stand in the document itself, and, deeper, those whose
key is named after the element (``Level.level_id``): these are things of their own. A keyed list of
references inside an element (``Price.currency_id``) is part of that element, and the new document
decides about it alone.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import orjson
from google.protobuf import descriptor, json_format
from google.protobuf.message import Message

from guerdon.feed.v1 import program_document_pb2

if TYPE_CHECKING:  # the C implementation has types of its own
    from google._upb import _message

    Descriptor: TypeAlias = descriptor.Descriptor | _message.Descriptor
    FieldDescriptor: TypeAlias = descriptor.FieldDescriptor | _message.FieldDescriptor

M = TypeVar("M", bound=Message)
_TEXT_MAX = 4096


class Kind(StrEnum):
    """What happened to the value at a path."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    KEPT = "kept"


_CHANGES = {
    Kind.ADDED: program_document_pb2.Difference.CHANGE_ADDED,
    Kind.CHANGED: program_document_pb2.Difference.CHANGE_CHANGED,
    Kind.REMOVED: program_document_pb2.Difference.CHANGE_REMOVED,
    Kind.KEPT: program_document_pb2.Difference.CHANGE_KEPT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One line of the list a designer reads before applying.

    ``path`` names fields as the YAML does, elements of keyed lists by their key:
    ``rules[welcome].points``. ``before`` and ``after`` are JSON text, empty where there is nothing,
    cut to 4,096 characters; where only the order of a keyed list differs they are its keys in
    order. KEPT is what only the old document has and nothing prunes.
    """

    kind: Kind
    path: str
    before: str
    after: str


def differences(old: M | None, new: M, *, prune: bool = True) -> tuple[Difference, ...]:
    """List what leads from `old` to `new`, in the order of the fields; `old` None means nothing.

    Without `prune` the things that only `old` has are listed as KEPT instead of REMOVED.
    """
    found = tuple(_in_message("", type(new)() if old is None else old, new))
    if prune:
        return found
    kept = set(left_out(old, new))
    return tuple(
        replace(each, kind=Kind.KEPT) if each.kind is Kind.REMOVED and each.path in kept else each
        for each in found
    )


def merge(old: M | None, new: M, *, prune: bool) -> M:
    """Give what applying `new` over `old` makes: without `prune` also what only `old` has.

    What is kept stands behind the neighbour it stood behind before, so that an order that matters
    is not upset.
    """
    merged = _copy(new)
    if old is not None and not prune:
        _keep(old, merged, inside_element=False)
    return merged


def left_out(old: M | None, new: M) -> tuple[str, ...]:
    """Give the paths of the things that only `old` has.

    What applying with ``prune`` removes and without it keeps.
    """
    kept = differences(merge(old, new, prune=False), new)
    return tuple(difference.path for difference in kept if difference.kind is Kind.REMOVED)


def to_proto(found: Iterable[Difference]) -> list[program_document_pb2.Difference]:
    """Give differences as the apply RPCs of all services answer them."""
    return [
        program_document_pb2.Difference(
            path=each.path, change=_CHANGES[each.kind], before=each.before, after=each.after
        )
        for each in found
    ]


def key_field(kind: "Descriptor | None") -> "FieldDescriptor | None":
    """Find the field that identifies an element of this message type, None where none does."""
    for field in kind.fields if kind is not None else ():
        if (
            field.name.endswith("_id")
            and field.type == descriptor.FieldDescriptor.TYPE_STRING
            and not field.is_repeated
        ):
            return field
    return None


def _in_message(path: str, old: Message, new: Message) -> Iterator[Difference]:
    for field in new.DESCRIPTOR.fields:
        here = f"{path}.{field.name}" if path else field.name
        if field.is_repeated:
            yield from _in_repeated(here, field, old, new)
        elif field.message_type is not None and not _is_leaf(field.message_type):
            yield from _in_singular(here, field, old, new)
        elif _has(old, field) != _has(new, field) or _get(old, field) != _get(new, field):
            yield from _changed(here, _field_text(old, field), _field_text(new, field))


def _in_singular(
    path: str, field: "FieldDescriptor", old: Message, new: Message
) -> Iterator[Difference]:
    if _has(old, field) and _has(new, field):
        yield from _in_message(path, _child(old, field), _child(new, field))
    elif _has(old, field) or _has(new, field):
        yield from _changed(path, _field_text(old, field), _field_text(new, field))


def _in_repeated(
    path: str, field: "FieldDescriptor", old: Message, new: Message
) -> Iterator[Difference]:
    before, after = _entries(field, old), _entries(field, new)
    if before is None or after is None:
        before, after = _by_position(field, old), _by_position(field, new)
    for name, value in before.items():
        if name not in after:
            yield from _changed(f"{path}[{name}]", _text(field, value), "")
    for name, value in after.items():
        here = f"{path}[{name}]"
        if name not in before:
            yield from _changed(here, "", _text(field, value))
        elif (
            isinstance(value, Message)
            and isinstance(earlier := before[name], Message)
            and not _is_leaf(value.DESCRIPTOR)
        ):
            yield from _in_message(here, earlier, value)
        elif before[name] != value:
            yield from _changed(here, _text(field, before[name]), _text(field, value))
    stayed_before = [name for name in before if name in after]
    stayed_after = [name for name in after if name in before]
    if stayed_before != stayed_after and not _is_map(field):
        yield from _changed(path, _json(stayed_before), _json(stayed_after))


def _changed(path: str, before: str, after: str) -> Iterator[Difference]:
    kind = Kind.CHANGED if before and after else Kind.REMOVED if before else Kind.ADDED
    yield Difference(kind=kind, path=path, before=before[:_TEXT_MAX], after=after[:_TEXT_MAX])


def _copy(message: M) -> M:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _keep(old: Message, merged: Message, *, inside_element: bool) -> None:
    """Put back into `merged` the things that only `old` has."""
    for field in merged.DESCRIPTOR.fields:
        if field.message_type is None or _is_map(field) or _is_leaf(field.message_type):
            continue
        if not field.is_repeated:
            if _has(old, field) and _has(merged, field):
                _keep(_child(old, field), _child(merged, field), inside_element=inside_element)
        elif not inside_element or _is_named_after_its_message(field.message_type):
            _keep_elements(field, old, merged)


def _keep_elements(field: "FieldDescriptor", old: Message, merged: Message) -> None:
    before, after = _entries(field, old), _entries(field, merged)
    if before is None or after is None:
        return
    order = list(after)
    behind = -1
    for name in before:
        if name not in after:
            order.insert(behind + 1, name)
        behind = order.index(name)
    elements: list[Message] = []
    for name in order:
        element = _copy(cast("Message", after.get(name, before.get(name))))
        earlier = before.get(name)
        if name in after and isinstance(earlier, Message):
            _keep(earlier, element, inside_element=True)
        elements.append(element)
    merged.ClearField(field.name)
    getattr(merged, field.name).extend(elements)


def _entries(field: "FieldDescriptor", message: Message) -> dict[str, object] | None:
    """Give the entries of a map or keyed list by key; None where a key lacks or repeats."""
    values = getattr(message, field.name)
    if _is_map(field):
        return {str(key): values[key] for key in sorted(values)}
    key = key_field(field.message_type)
    if key is None:
        return None
    entries: dict[str, object] = {str(getattr(value, key.name)): value for value in values}
    return None if "" in entries or len(entries) != len(values) else entries


def _by_position(field: "FieldDescriptor", message: Message) -> dict[str, object]:
    return {str(index): value for index, value in enumerate(getattr(message, field.name))}


def _is_map(field: "FieldDescriptor") -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_leaf(kind: "Descriptor") -> bool:
    """Instants, durations, dates and their like are values.

    A difference inside one says nothing to a designer.
    """
    return str(kind.full_name).startswith("google.")


def _is_named_after_its_message(kind: "Descriptor") -> bool:
    key = key_field(kind)
    if key is None:
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(kind.name)).lower()
    return f"_{words}".endswith("_" + key.name.removesuffix("_id"))


def _has(message: Message, field: "FieldDescriptor") -> bool:
    return not field.has_presence or message.HasField(field.name)


def _get(message: Message, field: "FieldDescriptor") -> object:
    return getattr(message, field.name)


def _child(message: Message, field: "FieldDescriptor") -> Message:
    return cast("Message", getattr(message, field.name))


def _field_text(message: Message, field: "FieldDescriptor") -> str:
    """Give a singular field as text.

    A field without presence is absent when it holds its default.
    """
    value = _get(message, field)
    if not _has(message, field) or (not field.has_presence and value == field.default_value):
        return ""
    return _text(field, value)


def _text(field: "FieldDescriptor", value: object) -> str:
    if isinstance(value, Message):
        return _json(json_format.MessageToDict(value, preserving_proto_field_name=True))
    if isinstance(value, bytes):
        return _json(base64.b64encode(value).decode())
    entry = field.message_type if _is_map(field) else None
    kind = entry.fields_by_name["value"] if entry is not None else field
    if kind.enum_type is not None and isinstance(value, int):
        named = kind.enum_type.values_by_number.get(value)
        return _json(named.name if named is not None else value)
    return _json(value)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
