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
from typing import TypeVar, cast

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import program_pb2 as earning_pb
from guerdon.gamification.v1 import program_pb2 as gamification_pb
from guerdon.redemption.v1 import reward_pb2 as redemption_pb
from guerdon.tiers.v1 import program_pb2 as tiers_pb

M = TypeVar("M", bound=Message)

KINDS: Mapping[str, type[Message]] = {
    "earning": earning_pb.EarningProgram,
    "tiers": tiers_pb.TiersProgram,
    "redemption": redemption_pb.RedemptionProgram,
    "gamification": gamification_pb.GamificationProgram,
}
# Messages whose JSON form is a single text.
_SCALAR_MESSAGES = {Duration.DESCRIPTOR.full_name, Timestamp.DESCRIPTOR.full_name}


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
    other = sorted(folder.glob("*.yml"))
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
    complaints += [
        Complaint(file=path, line=1, field="", text=f"must be called {path.stem}.yaml")
        for path in other
    ]
    if not complaints and not files:
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


def messages(file: Path, kind: type[M]) -> list[M]:
    """One message of a YAML or JSON file, or a list of them; raises BadDocuments."""
    node = _parsed(file)
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found: list[M] = []
    complaints: list[Complaint] = []
    for each in nodes:
        try:
            found.append(_message(file, each, kind, {}))
        except BadDocuments as bad:
            complaints += bad.complaints
    if complaints:
        raise BadDocuments(complaints)
    return found


def _document(service: str, file: Path) -> Document:
    lines: dict[str, int] = {}
    message = _message(file, _parsed(file), KINDS[service], lines)
    return Document(service=service, file=file, message=message, lines=lines)


def _message(file: Path, node: yaml.Node | None, kind: type[M], lines: dict[str, int]) -> M:
    """The message that a mapping writes; fills `lines`, raises BadDocuments."""
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node is not None else 1
        text = f"must be a mapping with the fields of {kind.DESCRIPTOR.full_name}"
        raise BadDocuments([Complaint(file=file, line=line, field="", text=text)])
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
        line = node.start_mark.line + 1
        raise BadDocuments([Complaint(file=file, line=line, field="", text=str(error))]) from error
    return message


def _parsed(file: Path) -> yaml.Node | None:
    """The nodes of a file, each with its line; raises BadDocuments."""
    text = ""
    try:
        text = file.read_text(encoding="utf-8")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line, words = text.count("\n", 0, error.position) + 1, "holds a character that YAML forbids"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        words = ", ".join(filter(None, (error.context, error.problem)))
    except UnicodeDecodeError as error:
        line, words = error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8 text"
    except OSError as error:
        line, words = 1, f"cannot be read: {error.strerror}"
    except RecursionError:
        line, words = 1, "is nested too deeply"
    raise BadDocuments([Complaint(file=file, line=line, field="", text=words)])


def _check(
    node: yaml.MappingNode, descriptor: Descriptor, prefix: str, lines: dict[str, int]
) -> Iterator[tuple[int, str, str]]:
    """Check the names and shapes below a mapping.

    Fills `lines` and yields (line, field, complaint).
    """
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    seen: set[str] = set()
    chosen: dict[str, str] = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        field = fields.get(name)
        path = f"{prefix}{field.name if field else name}"
        if field is None:
            hint = _hint(name, [field.name for field in descriptor.fields])
            yield line, path, f"{descriptor.name} has no field {name!r}{hint}"
            continue
        if field.name in seen:
            yield line, path, "is given twice"
        seen.add(field.name)
        choice = field.containing_oneof
        if choice is not None and len(choice.fields) > 1 and not _is_null(value):
            first = chosen.setdefault(choice.name, field.name)
            if first != field.name:
                yield line, path, f"stands beside {first}, and only one of them may be given"
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
    kind, line = field.message_type, value.start_mark.line + 1
    if kind is None or kind.full_name in _SCALAR_MESSAGES:
        if not isinstance(value, yaml.ScalarNode):
            yield line, path, "must be a single value"
        elif text := _scalar_complaint(value, field):
            yield line, path, text
    elif not isinstance(value, yaml.MappingNode):
        yield line, path, f"must be a mapping with the fields of {kind.name}"
    else:
        yield from _check(value, kind, f"{path}.", lines)


def _scalar_complaint(node: yaml.ScalarNode, field: FieldDescriptor) -> str:
    """What is wrong with a single value, or nothing.

    protobuf would say it too, but of the first one only, and often without its place.
    """
    try:
        value = _value(node)
    except (yaml.YAMLError, ValueError, LookupError):
        return f"{node.value!r} is no value of {node.tag}"
    if value is None:
        return "must not be empty" if field.is_repeated else ""
    if field.message_type is not None:
        return _time_complaint(value, field.message_type.full_name)
    if field.enum_type is not None:
        names = [each.name for each in field.enum_type.values]
        if value in names or value in [each.number for each in field.enum_type.values]:
            return ""
        return f"{node.value!r} is none of {', '.join(names[1:])}{_hint(node.value, names)}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "" if isinstance(value, bool) else f"{node.value!r} is neither true nor false"
    if field.type == FieldDescriptor.TYPE_STRING:
        return "" if isinstance(value, str) else f"must be a text: write {node.value!r} in quotes"
    bits = 31 if field.type == FieldDescriptor.TYPE_INT32 else 63
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{node.value!r} is not a whole number"
    return (
        "" if -(2**bits) <= value < 2**bits else f"{node.value} does not fit into {bits + 1} bits"
    )


def _time_complaint(value: object, kind: str) -> str:
    is_time = kind == Timestamp.DESCRIPTOR.full_name
    example = "2011-03-01T00:00:00Z" if is_time else '86400s (seconds, with an "s")'
    try:
        (Timestamp() if is_time else Duration()).FromJsonString(str(value))
    except (ValueError, OverflowError):
        return f"{value!r} is not written like {example}"
    return ""


def _hint(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1) or [
        each for each in names[1:] if each.endswith(f"_{name.upper()}")
    ]
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _value(node: yaml.Node) -> object:
    """The plain value of a node; dates stay text, because the JSON form knows no dates.

    Raises what YAML raises of a tag that is unknown, or does not fit.
    """
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value
    value: object = yaml.SafeLoader("").construct_object(node, deep=True)
    return value


def _nearest(lines: Mapping[str, int], field: str) -> int:
    """The line of the field, or of the nearest field around it that the file names, or 1."""
    ends = [match.start() for match in re.finditer(r"[.\[]", field)]
    for end in (len(field), *reversed(ends)):
        if field[:end] in lines:
            return lines[field[:end]]
    return 1
