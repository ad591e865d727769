"""What is wrong with an expression, in words, with what would be right where it can be guessed.

The engine speaks of overloads, containers and expected tokens; designers write conditions.
"""

import difflib
import re
from collections.abc import Sequence

from google.protobuf import descriptor_pool

_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_UNDEFINED = re.compile(r"undefined field '([^']+)' not found in struct '([\w.]+)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']+)' applied to '(?:\((.*)\)|(.*))'")
_MISPLACED = re.compile(
    r"Syntax error: (?:mismatched input|extraneous input|no viable \w+ at input)"
)
_TOKEN = re.compile(r"(?:at: '(.*)'$|'((?:\\.|[^'])*)')")
_FIELDS_MAX = 12
_TYPES = {
    "google.protobuf.Timestamp": "an instant",
    "google.protobuf.Duration": "a duration",
    "int": "a whole number",
    "double": "a fraction",
    "string": "a text",
    "bool": "a truth",
    "null": "nothing",
}
_FUNCTIONS = ("contains", "endsWith", "exists", "has", "matches", "size", "startsWith", "timestamp")
_SIGNS = {"=": "== to compare", "&": "&& for and", "|": "|| for or"}
_CURLY = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_INSTEAD = {"and": "&&", "or": "||", "not": "!", "AND": "&&", "OR": "||", "NOT": "!"}


def plain(problem: str, names: Sequence[str]) -> str:
    """A problem that the engine found, as people say it; `names` are what can be read."""
    if found := _UNDECLARED.search(problem):
        return _unknown(found[1], names)
    if found := _UNDEFINED.search(problem):
        return _no_field(found[1], found[2])
    if found := _OVERLOAD.search(problem):
        operator, of = found[1], found[2] or found[3] or ""
        return _mismatch(operator, re.split(r", (?![^(]*\))", of))
    if problem.startswith("Syntax error"):
        return _syntax(problem)
    return problem


def _unknown(word: str, names: Sequence[str]) -> str:
    name, *fields = word.lstrip(".").split(".")
    instead = {"True": "true", "False": "false", **_INSTEAD}.get(name)
    if instead is None:
        near = difflib.get_close_matches(name, [*names, *_FUNCTIONS], 1)
        instead = near[0] if near else None
    quotes = "" if fields else ", and a text stands in quotes"
    hint = f"did you mean {instead}?" if instead else f"there is {', '.join(names)}{quotes}"
    return f"there is no {name}; {hint}"


def _no_field(field: str, kind: str) -> str:
    fields = _fields(kind)
    near = difflib.get_close_matches(field, fields, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(fields)}"
    return f"{_short(kind)} has no field '{field}'; {hint}"


def _mismatch(operator: str, types: Sequence[str]) -> str:
    sign = operator.strip("_").removeprefix("@") or operator
    hint = ""
    for each in types:
        if each not in _TYPES and (fields := _fields(each)):
            hint = f"; read a field of {_short(each)}: {', '.join(fields)}"
    if "google.protobuf.Timestamp" in types and "string" in types:
        hint = '; an instant is written timestamp("2026-01-17T00:00:00Z")'
    elif set(types) == {"int", "double"}:
        hint = "; write a whole number"
    elif set(types) == {"int", "string"}:
        hint = "; a number stands without quotes, a text within"
    return f"{sign} does not go with {' and '.join(map(_name, types))}{hint}"


def _syntax(problem: str) -> str:
    found = _TOKEN.search(problem)
    token = (found[1] or found[2] or "") if found else ""
    if token.strip() in _INSTEAD:
        return f"Syntax error: write {_INSTEAD[token.strip()]} for {token.strip()}"
    if token.strip() in _SIGNS:
        return f"Syntax error: write {_SIGNS[token.strip()]}"
    if token[:1] in {'"', "'"}:
        return f"Syntax error: the text that begins with {token} has no end"
    if token[:1] in _CURLY:
        return 'Syntax error: quotes are straight ones, as in "gold"'
    if token.endswith("EOF>"):
        return "Syntax error: something is missing at the end"
    if _MISPLACED.match(problem):
        return f"Syntax error: {token!r} is not expected here"
    return problem


def _fields(kind: str) -> list[str]:
    try:
        message = descriptor_pool.Default().FindMessageTypeByName(kind)
    except KeyError:
        return []
    return [field.name for field in message.fields][:_FIELDS_MAX]


def _short(kind: str) -> str:
    return kind.rsplit(".", 1)[-1]


def _name(kind: str) -> str:
    return _TYPES.get(kind) or _short(kind)
