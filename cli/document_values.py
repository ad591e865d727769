"""Single values of program files: what they are, and what is wrong with them."""

import difflib
import re
from collections.abc import Iterator, Sequence

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

SCALAR_MESSAGES = {Duration.DESCRIPTOR.full_name, Timestamp.DESCRIPTOR.full_name}
"""Messages whose JSON form is a single text."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_TOKENS = re.compile(r"""//[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\w+|[=!]=|[^\s\w]""")


def scalar_complaint(node: yaml.ScalarNode, field: FieldDescriptor) -> str:
    """What is wrong with a single value, or nothing.

    protobuf would say it too, but of the first one only, and often without its place.
    """
    try:
        value = plain(node)
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
        return f"{node.value!r} is none of {', '.join(names[1:])}{hint(node.value, names)}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "" if isinstance(value, bool) else f"{node.value!r} is neither true nor false"
    if field.type == FieldDescriptor.TYPE_STRING:
        if not isinstance(value, str):
            return f"must be a text: write {node.value!r} in quotes"
        return "" if _is_unicode(value) else "holds half a character"
    bits = 31 if field.type == FieldDescriptor.TYPE_INT32 else 63
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return f"is a text: write {value} without quotes"
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{node.value!r} is not a whole number"
    if not _WHOLE.fullmatch(node.value):
        # YAML reads 010 as eight and 1:30 as ninety.
        return f"{node.value!r} is not a whole number in decimal digits, as 10 is"
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


def hint(name: str, names: Sequence[str]) -> str:
    """The name that may be meant, as the end of a complaint; empty when none is near."""
    near = difflib.get_close_matches(name, names, 1) or [
        each for each in names[1:] if each.endswith(f"_{name.upper()}")
    ]
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def compared_with(expression: str, variable: str) -> Iterator[str]:
    """Texts that a CEL expression compares a variable with: by ==, != or in [...]."""
    tokens = [each for each in _TOKENS.findall(expression) if not each.startswith("//")]
    for at, token in enumerate(tokens):
        before, after = tokens[max(0, at - 2) : at], tokens[at + 1 :]
        if token != variable or before[-1:] == ["."]:
            continue
        if after[:1] in (["=="], ["!="]):
            yield from _texts(after[1:2])
        elif after[:2] == ["in", "["] and "]" in after:
            yield from _texts(after[2 : after.index("]")])
        elif before[1:] in (["=="], ["!="]):
            yield from _texts(before[:1])


def _texts(tokens: Sequence[str]) -> Iterator[str]:
    """The texts among tokens that are plainly written."""
    for token in tokens:
        if token[0] in "'\"" and "\\" not in token:
            yield token[1:-1]


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is written."""
    return node.tag == "tag:yaml.org,2002:null"


def plain(node: yaml.Node) -> object:
    """The plain value of a node; dates stay text, because the JSON form knows no dates.

    Raises what YAML raises of a tag that is unknown, or does not fit.
    """
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value
    value: object = yaml.SafeLoader("").construct_object(node, deep=True)
    return value
