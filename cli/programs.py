"""The live program of a cluster: its versions, rollbacks, and its documents as files."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import grpc
import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli import instants
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2
from guerdon.feed.v1 import program_document_pb2 as pb
from guerdon.gamification.v1 import gamification_service_pb2
from guerdon.redemption.v1 import redemption_service_pb2
from guerdon.tiers.v1 import tiers_service_pb2
from shared.rpc import client

_MODULES = {
    "earning": earning_service_pb2,
    "tiers": tiers_service_pb2,
    "redemption": redemption_service_pb2,
    "gamification": gamification_service_pb2,
}
SERVICES = tuple(_MODULES)
Listed: TypeAlias = pb.ProgramVersion
Done: TypeAlias = pb.AppliedDocument
_PAGE_SIZE = 1_000
_UNKNOWN = "PROGRAM_NOT_FOUND"


class FilesThere(Exception):
    """Files would be overwritten that differ from what would be written."""


class _Versions(Protocol):
    versions: Sequence[pb.ProgramVersion]
    next_page_token: str


class _Stored(Protocol):
    program: Message
    version: int


class _Got(Protocol):
    version: _Stored


class _RolledBack(Protocol):
    applied: pb.AppliedDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The document of a service that is in force, and its version."""

    service: str
    version: int
    document: Message


async def versions(peers: Peers, program_id: str) -> dict[str, list[pb.ProgramVersion]]:
    """The versions of a program by service, newest first.

    Raises AioRpcError when no service knows the program.
    """
    found: dict[str, list[pb.ProgramVersion]] = {}
    unknown: grpc.aio.AioRpcError | None = None
    for service in SERVICES:
        token, listed = "", list[pb.ProgramVersion]()
        try:
            while True:
                fields = {"program_id": program_id, "page_size": _PAGE_SIZE, "page_token": token}
                page = cast("_Versions", await _call(peers, service, "List{}Versions", fields))
                listed += page.versions
                token = page.next_page_token
                if not token:
                    break
        except grpc.aio.AioRpcError as error:
            unknown = if_unknown(error)
            continue
        found[service] = listed
    if not found and unknown is not None:
        raise unknown
    return found


async def rollback(
    peers: Peers,
    program_id: str,
    service: str,
    version: int,
    *,
    author: str,
    validate_only: bool = False,
    publish_time: datetime | None = None,
    cancel_scheduled: bool = False,
) -> pb.AppliedDocument:
    """Apply what an earlier version said, as a new version."""
    options = pb.ApplyOptions(
        author=author,
        validate_only=validate_only,
        publish_time=instants.stamp(publish_time),
        cancel_scheduled=cancel_scheduled,
    )
    fields = {"program_id": program_id, "version": version, "options": options}
    return cast("_RolledBack", await _call(peers, service, "Rollback{}", fields)).applied


async def live(peers: Peers, program_id: str) -> list[Stored]:
    """The documents in force; raises AioRpcError when no service knows the program."""
    found: list[Stored] = []
    unknown: grpc.aio.AioRpcError | None = None
    for service in SERVICES:
        try:
            got = cast("_Got", await _call(peers, service, "Get{}", {"program_id": program_id}))
        except grpc.aio.AioRpcError as error:
            unknown = if_unknown(error)
            continue
        stored = got.version
        found.append(Stored(service=service, version=stored.version, document=stored.program))
    if not found and unknown is not None:
        raise unknown
    return found


def export(stored: Sequence[Stored], folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write documents as the files that an apply reads; gives the files.

    Raises FilesThere unless `overwrite`, and writes nothing then; OSError as writing does.
    """
    texts = {folder / f"{each.service}.yaml": as_yaml(each.document) for each in stored}
    differ = [
        path
        for path, text in texts.items()
        if path.exists() and path.read_text(encoding="utf-8") != text
    ]
    if differ and not overwrite:
        names = ", ".join(path.name for path in differ)
        raise FilesThere(f"{folder} holds {names} already: say --overwrite, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def as_yaml(document: Message) -> str:
    """A document as its file: fields in the order of the schema, numbers as numbers."""
    return yaml.safe_dump(_fields(document), sort_keys=False, allow_unicode=True, width=100)


def _fields(message: Message) -> dict[str, object]:
    found: dict[str, object] = {}
    for described in message.DESCRIPTOR.fields:
        field = cast("FieldDescriptor", described)
        value = getattr(message, field.name)
        if field.is_repeated:
            if not value:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                kind = field.message_type.fields_by_name["value"]
                found[field.name] = {str(key): _single(kind, value[key]) for key in sorted(value)}
            else:
                found[field.name] = [_single(field, each) for each in value]
        elif message.HasField(field.name) if field.has_presence else value != field.default_value:
            found[field.name] = _single(field, value)
    return found


def _single(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Message):
        is_text = value.DESCRIPTOR.full_name.startswith("google.protobuf.")
        return json_format.MessageToDict(value) if is_text else _fields(value)
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


async def _call(peers: Peers, service: str, pattern: str, fields: Mapping[str, object]) -> Message:
    """Call the method of a service whose name is the pattern with the kind of its document."""
    method = pattern.format(f"{service.capitalize()}Program")
    request = cast("Callable[..., Message]", getattr(_MODULES[service], f"{method}Request"))
    called = cast(
        "Callable[[Message], Awaitable[Message]]", getattr(getattr(peers, service), method)
    )
    return await called(request(**fields))


def if_unknown(error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
    """The error when it says that a service does not know the program; raises any other."""
    if client.refusal_of(error).reason != _UNKNOWN:
        raise error
    return error
