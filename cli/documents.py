"""Program folders as documents.

YAML in, protobuf messages out, with file, line and field in each complaint.

The YAML is the protobuf JSON form of the API's own messages, so the messages are the one schema;
fields may be written in snake_case or lowerCamelCase.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from guerdon.earning.v1 import program_pb2 as earning_pb
from guerdon.gamification.v1 import program_pb2 as gamification_pb
from guerdon.redemption.v1 import reward_pb2 as redemption_pb
from guerdon.tiers.v1 import program_pb2 as tiers_pb

KINDS: Mapping[str, type[Message]] = {
    "earning": earning_pb.EarningProgram,
    "tiers": tiers_pb.TiersProgram,
    "redemption": redemption_pb.RedemptionProgram,
    "gamification": gamification_pb.GamificationProgram,
}
# Messages whose JSON form is a scalar: durations, instants, masks.
_SCALAR_MESSAGES = {
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "google.protobuf.FieldMask",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What is wrong, and where.

    `line` counts from 1, `field` is a path such as "rules[0].condition".
    """

    file: Path
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.text}" if self.field else f"{place}: {self.text}"


class BadDocuments(Exception):
    """A program folder cannot be applied; carries every complaint."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(map(str, self.complaints)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file of a program.

    The service that it is for, its message, and the line of each field.
    """

    service: str
    file: Path
    message: Message
    lines: Mapping[str, int]

    def complaint(self, field: str, text: str) -> Complaint:
        """A complaint about a field, at the line of the nearest field that the file names."""
        return Complaint(file=self.file, line=_nearest(self.lines, field), field=field, text=text)


def load(folder: Path) -> tuple[Document, ...]:
    """Read a program folder; raises BadDocuments with all complaints of all files."""
    if not folder.is_dir():
        raise BadDocuments([Complaint(file=folder, line=0, field="", text="is not a folder")])
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    complaints = [
        Complaint(
            file=path,
            line=1,
            field="",
            text=f"no service is called {stem!r}; the files of a program are "
            + ", ".join(f"{kind}.yaml" for kind in KINDS),
        )
        for stem, path in files.items()
        if stem not in KINDS
    ]
    if not files:
        complaints.append(Complaint(file=folder, line=0, field="", text="holds no .yaml file"))
    documents: list[Document] = []
    for service in KINDS:
        if service in files:
            try:
                documents.append(_document(service, files[service]))
            except BadDocuments as bad:
                complaints += bad.complaints
    programs = {getattr(document.message, "program_id", "") for document in documents}
    if len(programs) > 1:
        complaints += [
            document.complaint("program_id", f"the files name several programs: {sorted(programs)}")
            for document in documents
        ]
    if complaints:
        raise BadDocuments(complaints)
    return tuple(documents)


def _document(service: str, file: Path) -> Document:
    kind = KINDS[service]
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        text = getattr(error, "problem", None) or "is not UTF-8 text"
        raise BadDocuments([Complaint(file=file, line=line, field="", text=str(text))]) from error
    if not isinstance(node, yaml.MappingNode):
        text = f"must be a mapping with the fields of {kind.DESCRIPTOR.full_name}"
        raise BadDocuments([Complaint(file=file, line=1, field="", text=text)])
    lines: dict[str, int] = {}
    wrong = [
        Complaint(file=file, line=line, field=field, text=text)
        for line, field, text in _check(node, cast("Descriptor", kind.DESCRIPTOR), "", lines)
    ]
    if wrong:
        raise BadDocuments(wrong)
    message = kind()
    try:
        json_format.ParseDict(cast("dict[str, object]", _value(node)), message)
    except json_format.ParseError as error:
        field, text = _located(str(error), kind.DESCRIPTOR.name)
        complaint = Complaint(file=file, line=_nearest(lines, field), field=field, text=text)
        raise BadDocuments([complaint]) from error
    return Document(service=service, file=file, message=message, lines=lines)


def _check(
    node: yaml.MappingNode, descriptor: Descriptor, prefix: str, lines: dict[str, int]
) -> Iterator[tuple[int, str, str]]:
    """Check the names and shapes below a mapping.

    Fills `lines` and yields (line, field, complaint).
    """
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    seen: set[str] = set()
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        field = fields.get(name)
        path = f"{prefix}{field.name if field else name}"
        if field is None:
            near = difflib.get_close_matches(name, [field.name for field in descriptor.fields], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield line, path, f"{descriptor.name} has no field {name!r}{hint}"
            continue
        if field.name in seen:
            yield line, path, "is given twice"
        seen.add(field.name)
        lines[path] = line
        yield from _check_value(value, field, path, lines)


def _check_value(
    value: yaml.Node, field: FieldDescriptor, path: str, lines: dict[str, int]
) -> Iterator[tuple[int, str, str]]:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if field.is_repeated and not is_map:
        if not isinstance(value, yaml.SequenceNode):
            yield value.start_mark.line + 1, path, "must be a list"
            return
        for index, item in enumerate(value.value):
            lines[f"{path}[{index}]"] = item.start_mark.line + 1
            yield from _check_single(item, field, f"{path}[{index}]", lines)
    elif not is_map:
        yield from _check_single(value, field, path, lines)


def _check_single(
    value: yaml.Node, field: FieldDescriptor, path: str, lines: dict[str, int]
) -> Iterator[tuple[int, str, str]]:
    kind = field.message_type
    if kind is None or kind.full_name in _SCALAR_MESSAGES:
        if not isinstance(value, yaml.ScalarNode):
            yield value.start_mark.line + 1, path, "must be a single value"
    elif not isinstance(value, yaml.MappingNode):
        yield value.start_mark.line + 1, path, f"must be a mapping with the fields of {kind.name}"
    else:
        yield from _check(value, kind, f"{path}.", lines)


def _value(node: yaml.Node) -> object:
    """The plain value of a node; dates stay text, because the JSON form knows no dates."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value
    loader = yaml.SafeLoader("")
    return loader.construct_object(node, deep=True)


def _located(error: str, root: str) -> tuple[str, str]:
    """Split a ParseError into the field's path and the words."""
    found = re.search(rf'(?: at "?{root}\.([^"\s]+?)"?)?\.?$', error)
    path = found.group(1) if found and found.group(1) else ""
    path = re.sub(r"([a-z0-9])([A-Z])", lambda m: f"{m[1]}_{m[2].lower()}", path)
    words = re.sub(rf' at "?{root}\.[^"\s]+"?', "", error)
    words = re.sub(r"^(Failed to parse \w+ field: )+", "", words)
    return path, words


def _nearest(lines: Mapping[str, int], field: str) -> int:
    """The line of the field, or of the nearest field around it that the file names, or 1."""
    path = field
    while path:
        if path in lines:
            return lines[path]
        path = re.sub(r"(\.[^.\[]+|\[[^\]]*\]|^[^.\[]+)$", "", path)
    return 1
