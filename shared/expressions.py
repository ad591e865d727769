"""Conditions that designers write.

CEL, type-checked against our protos when compiled (cel-cpp behind one port).

A misspelt field is an error with its position; an expression that fails while it runs (a division
by zero, a missing attribute) matches nothing and says why.
One that names no variable and fails would always fail, and is refused when it is compiled.
The engine's iteration budget stops loops within loops.
What the budget does not see is refused when the expression is compiled: text that doubles from
loop to loop, and patterns that take milliseconds each time they are built.

Handing a message to the engine costs about 15 µs and asking a condition 2 to 5 µs, so conditions
about the same values are asked with `Environment.bind` and `Condition.asked_of`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NewType

from cel_expr_python import cel
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor

from shared import errors, expression_problems

LENGTH_MAX = 2_000
LOOPS_MAX = 8
PATTERN_LENGTH_MAX = 256
PATTERN_REPEATS_MAX = 100
Result = Literal["bool", "string", "int"]
Variable = Descriptor | Literal["string", "int", "bool", "map"]
#: Values that have been handed to the engine once, for many conditions; a message in it is shared,
#: so it must not be changed while it is asked about.
Bound = NewType("Bound", object)

_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "bool": cel.Type.BOOL,
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}
_PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")
_LITERAL = re.compile(
    r"(?P<comment>//[^\n]*)"
    r'|(?:[bB]?[rR]|[rR][bB])(?:"""[\s\S]*?"""|'
    r"'''[\s\S]*?'''"
    r'|"[^"\n]*"|'
    r"'[^'\n]*')"
    r'|[bB]?(?:"""(?:\\[\s\S]|[^\\])*?"""|'
    r"'''(?:\\[\s\S]|[^\\])*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*')"
)
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|filter|map)\s*\(")
_MATCHES = re.compile(r"\bmatches\s*\(")
_MATCHES_LITERAL = re.compile(r"\.\s*matches\s*\(\s*§(\d+)\s*\)")
_REPEAT = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")
_NO_VARIABLES = cel.NewEnv(descriptor_pool=descriptor_pool.Default(), variables={})
_JOINS = (b"add_string", b"add_bytes", b"add_list")
# What the engine raises for values of a wrong type, beside its own RuntimeError.
_FAILURES = (RuntimeError, TypeError, ValueError, OverflowError)


@dataclass(eq=False, repr=False, kw_only=True)
class ExpressionError(errors.InvalidArgument):
    """An expression does not compile.

    `line` and `column` count from 1, 0 where there is no place.
    """

    message = "line {line}, column {column}: {problem}"
    line: int
    column: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a condition matched.

    `error` says what went wrong while it ran, and then it did not.
    """

    matched: bool
    error: str = ""


_MATCHED, _NOT_MATCHED = Verdict(matched=True), Verdict(matched=False)


class Condition:
    """A compiled expression; safe to share between tasks."""

    __slots__ = ("_bind", "_expression", "text")

    def __init__(self, text: str, env: cel.Env, expression: cel.Expression) -> None:
        self.text = text
        self._bind = env.Activation
        self._expression = expression

    def matches(self, **values: object) -> Verdict:
        """Ask the condition about values of the environment's variables; never raises."""
        try:
            bound = self._bind(values)
        except _FAILURES as error:
            return Verdict(matched=False, error=_words(str(error)))
        return self.asked_of(bound)

    def asked_of(self, bound: Bound) -> Verdict:
        """Ask the condition about bound values; never raises."""
        try:
            found = self._expression.eval(bound).value()
        except _FAILURES as error:
            return Verdict(matched=False, error=_words(str(error)))
        if found is True:
            return _MATCHED
        if found is False:
            return _NOT_MATCHED
        return Verdict(matched=False, error=_words(str(found)))

    def number(self, bound: Bound) -> tuple[int, str]:
        """A whole number of bound values, or 0 and what went wrong; never raises."""
        try:
            value = self._expression.eval(bound)
        except _FAILURES as error:
            return 0, _words(str(error))
        found = value.value()
        return (found, "") if value.type() == cel.Type.INT else (0, _words(str(found)))

    def evaluate(self, **values: object) -> object | None:
        """The expression's value, None when it fails; never raises."""
        try:
            value = self._expression.eval(self._bind(values))
        except _FAILURES:
            return None
        return None if value.type() == cel.Type.ERROR else value.value()


class Environment:
    """The variables that expressions may name: messages by their descriptor, scalars by name.

    A "map" is one of strings by string.
    """

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self._names = tuple(variables)
        self._env = cel.NewEnv(
            descriptor_pool=descriptor_pool.Default(),
            variables={
                name: cel.Type(kind.full_name) if isinstance(kind, Descriptor) else _TYPES[kind]
                for name, kind in variables.items()
            },
        )

    def compile(self, text: str, *, result: Result = "bool") -> Condition:
        """Compile an expression of a result type; refuses ExpressionError."""
        if len(text) > LENGTH_MAX:
            problem = f"has {len(text)} characters; {LENGTH_MAX} is the maximum"
            raise ExpressionError(line=0, column=0, problem=problem)
        try:
            expression = self._env.compile(text)
        except _FAILURES as error:
            raise _refusal(str(error), self._names) from None
        found = expression.return_type()
        if found != _TYPES[result]:
            hint = "; compare it with something" if result == "bool" else ""
            kind = found.name().lower()
            problem = f"is {_article(kind)}, where {_article(result)} is wanted{hint}"
            raise ExpressionError(line=1, column=1, problem=problem)
        problem = _too_costly(text, expression.serialize())
        if problem:
            raise ExpressionError(line=0, column=0, problem=problem)
        problem = _always_fails(text)
        if problem:
            raise ExpressionError(line=1, column=1, problem=problem)
        return Condition(text, self._env, expression)

    def bind(self, **values: object) -> Bound:
        """Hand values to the engine once, for several conditions of this environment.

        A value of a wrong type is found when a condition is asked.
        """
        return Bound(self._env.Activation(values))


def _too_costly(text: str, compiled: bytes) -> str:
    """What makes an expression too costly, empty when nothing does.

    `compiled` names the operators that the checker chose; lists are joined by filter and map too.
    """
    literals: list[str] = []

    def set_aside(token: re.Match[str]) -> str:
        if token["comment"]:
            return " "
        literals.append(token[0])
        return f"§{len(literals) - 1}"

    bare = _LITERAL.sub(set_aside, text)
    loops = len(_LOOP.findall(bare))
    if loops > LOOPS_MAX:
        return f"has {loops} loops; {LOOPS_MAX} is the maximum"
    # a.map(b, b + b).map(c, c + c) doubles in each loop, and no iteration budget sees it.
    if loops > 1 and "+" in bare and any(join in compiled for join in _JOINS):
        return "joins text or lists and has more than one loop"
    patterns = [literals[int(number)] for number in _MATCHES_LITERAL.findall(bare)]
    if len(patterns) != len(_MATCHES.findall(bare)):
        return "matches() takes a pattern that is written out"
    if any(len(pattern) > PATTERN_LENGTH_MAX for pattern in patterns):
        return f"has a pattern of more than {PATTERN_LENGTH_MAX} characters"
    # Patterns are built at each evaluation, with every counted part written out.
    repeats = 1
    for low, high in _REPEAT.findall("".join(patterns)):
        repeats *= max(int(low), int(high or 0), 1)
    if repeats > PATTERN_REPEATS_MAX:
        return f"has patterns that repeat {repeats} times; {PATTERN_REPEATS_MAX} is the maximum"
    return ""


def _always_fails(text: str) -> str:
    """Why an expression that names no variable fails, empty when it does not or names one."""
    try:
        constant = _NO_VARIABLES.compile(text)
    except _FAILURES:
        return ""
    found = Condition(text, _NO_VARIABLES, constant)
    error = found.matches().error if constant.return_type() == cel.Type.BOOL else ""
    if constant.return_type() == cel.Type.INT:
        error = found.number(Bound(_NO_VARIABLES.Activation({})))[1]
    return f"fails whatever it is asked about: {error}" if error else ""


def _refusal(error: str, names: Sequence[str]) -> ExpressionError:
    place = _PLACE.search(error)
    if place is None:
        return ExpressionError(line=0, column=0, problem=_words(error))
    line, column, problem = place.groups()
    return ExpressionError(
        line=max(int(line), 0),
        column=max(int(column), 0),
        problem=expression_problems.plain(_words(problem.strip()), names),
    )


def _words(error: str) -> str:
    """The first line of an error without its code."""
    first = (error.splitlines() or ["failed"])[0]
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", first)


def _article(kind: str) -> str:
    return f"an {kind}" if kind.startswith(("i", "a", "e", "o")) else f"a {kind}"
