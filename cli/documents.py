"""Program folders as documents.

YAML in, protobuf messages out, with file, line and field in each complaint.

The YAML is the protobuf JSON form of the API's own messages, so the messages are the one schema;
fields may be written in snake_case or lowerCamelCase.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cli import document_values
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
_WITHIN = re.compile(r"line (\d+), column \d+: ")
# What stands behind the path of a field for the line on which its text begins, after a "|".
_TEXT = "|"
_NAMED_MAX = 8
# What YAML says, and what it means to whoever wrote the file.
_YAML = {
    r"found character '\t' that cannot start any token": "holds a tab; indent with spaces",
    "expected <block end>, but found": "is not indented like the lines above it",
    "mapping values are not allowed here": 'a text with ": " in it stands in quotes',
    "could not find expected ':'": "a field ends with a colon, as in points: 1",
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
        """A complaint about a field, at the line of the nearest field that the file names.

        One that tells the line of an expression stands there, where the text is written as it is.
        """
        line, within = _nearest(self.lines, field), _WITHIN.match(text)
        if within is not None and (first := self.lines.get(f"{field}{_TEXT}")):
            line = first + max(int(within[1]), 1) - 1
        return Complaint(file=self.file, line=line, field=field, text=text)


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
    complaints += _of_levels(documents)
    if complaints:
        raise BadDocuments(complaints)
    return tuple(documents)


def _of_levels(documents: Sequence[Document]) -> list[Complaint]:
    """What earning says of the ladder and levels that the file of tiers beside it does not have."""
    by = {document.service: document for document in documents}
    earning, tiers = by.get("earning"), by.get("tiers")
    if earning is None or tiers is None:
        return []
    program = cast("tiers_pb.TiersProgram", tiers.message)
    return list(levels_missing(earning, program, f"{tiers.file.name} has"))


def levels_missing(
    earning: Document, tiers: tiers_pb.TiersProgram, which: str
) -> Iterator[Complaint]:
    """What earning says of ladders and levels that a document of tiers does not have.

    `which` names that one, as "tiers.yaml has". No service sees both; a rule for a level that there
    is not would never apply, and never say so.
    """
    program = cast("earning_pb.EarningProgram", earning.message)
    levels = {each.ladder_id: [level.level_id for level in each.levels] for each in tiers.ladders}
    ladder = program.tier_ladder_id
    if not ladder:
        return
    if ladder not in levels:
        text = f"{which} no ladder {ladder}{_choice(ladder, levels)}"
        yield earning.complaint("tier_ladder_id", text)
        return
    for at, rule in enumerate(program.rules):
        named = [(f"levels[{number}]", level) for number, level in enumerate(rule.levels)]
        # A member without a level has the empty one.
        compared = dict.fromkeys(document_values.compared_with(rule.condition, "tier"))
        named += [("condition", level) for level in compared if level]
        for field, level in named:
            if level not in levels[ladder]:
                text = f"{which} no level {level}{_choice(level, levels[ladder])}"
                yield earning.complaint(f"rules[{at}].{field}", text)


def _choice(name: str, names: Iterable[str]) -> str:
    return document_values.hint(name, ["", *names]) or f"; it has {', '.join(names)}"


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
        json_format.ParseDict(cast("dict[str, object]", document_values.plain(node)), message)
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
        words += "".join(f"; {meant}" for said, meant in _YAML.items() if said in words)
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
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield line, prefix.rstrip("."), "the name of a field must be a single word"
            continue
        name = str(key.value)
        field = fields.get(name)
        path = f"{prefix}{field.name if field else name}"
        if field is None:
            hint = document_values.hint(name, [field.name for field in descriptor.fields])
            if node.flow_style and document_values.is_null(value):
                hint = "; a text with a comma in it stands in quotes"
            yield line, path, f"{descriptor.name} has no field {name!r}{hint}"
            continue
        if field.name in seen:
            yield line, path, "is given twice"
        seen.add(field.name)
        choice = field.containing_oneof
        if choice is not None and len(choice.fields) > 1 and not document_values.is_null(value):
            first = chosen.setdefault(choice.name, field.name)
            if first != field.name:
                yield line, path, f"stands beside {first}, and only one of them may be given"
        lines[path] = line
        if isinstance(value, yaml.ScalarNode) and value.style == "|":
            lines[f"{path}{_TEXT}"] = value.start_mark.line + 2
        yield from _check_value(value, field, path, lines)


def _check_value(
    value: yaml.Node, field: FieldDescriptor, path: str, lines: dict[str, int]
) -> Iterator[tuple[int, str, str]]:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if field.is_repeated and not is_map:
        if not isinstance(value, yaml.SequenceNode):
            example = f": write [{value.value}]" if isinstance(value, yaml.ScalarNode) else ""
            yield value.start_mark.line + 1, path, f"must be a list{example}"
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
    if kind is None or kind.full_name in document_values.SCALAR_MESSAGES:
        if not isinstance(value, yaml.ScalarNode):
            yield line, path, "must be a single value"
        elif text := document_values.scalar_complaint(value, field):
            yield line, path, text
    elif not isinstance(value, yaml.MappingNode):
        names = ", ".join(each.name for each in list(kind.fields)[:_NAMED_MAX])
        yield line, path, f"must be a mapping with the fields of {kind.name}: {names}"
    else:
        yield from _check(value, kind, f"{path}.", lines)


def _nearest(lines: Mapping[str, int], field: str) -> int:
    """The line of the field, or of the nearest field around it that the file names, or 1."""
    ends = [match.start() for match in re.finditer(r"[.\[]", field)]
    for end in (len(field), *reversed(ends)):
        if field[:end] in lines:
            return lines[field[:end]]
    return 1
