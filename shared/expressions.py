"""Conditions that designers write.

CEL, type-checked against our protos when compiled (cel-cpp behind one port).

A misspelt field is an error with its position; an expression that fails while it runs (a division
by zero, a missing attribute) matches nothing and says why; an iteration budget stops bombs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cel_expr_python import cel
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor

from shared import errors

LENGTH_MAX = 2_000
Result = Literal["bool", "string", "int"]
Variable = Descriptor | Literal["string", "int", "bool"]

_TYPES = {"string": cel.Type.STRING, "int": cel.Type.INT, "bool": cel.Type.BOOL}
_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")


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

    __slots__ = ("_evaluate", "text")

    def __init__(self, text: str, evaluate: Callable[[Mapping[str, object]], cel.Value]) -> None:
        self.text = text
        self._evaluate = evaluate

    def matches(self, **values: object) -> Verdict:
        """Ask the condition about values of the environment's variables; never raises."""
        try:
            found = self._evaluate(values).value()
        except RuntimeError as error:
            return Verdict(matched=False, error=_words(str(error)))
        if found is True:
            return _MATCHED
        if found is False:
            return _NOT_MATCHED
        return Verdict(matched=False, error=str(found))

    def evaluate(self, **values: object) -> object | None:
        """The expression's value, None when it fails; never raises."""
        try:
            value = self._evaluate(values)
        except RuntimeError:
            return None
        return None if value.type() == cel.Type.ERROR else value.value()


class Environment:
    """The variables that expressions may name: messages by their descriptor, scalars by name."""

    def __init__(self, variables: Mapping[str, Variable]) -> None:
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
        except RuntimeError as error:
            raise _refusal(str(error)) from None
        found = expression.return_type()
        if found != _TYPES[result]:
            problem = f"is {_article(found.name().lower())}, where {_article(result)} is wanted"
            raise ExpressionError(line=1, column=1, problem=problem)

        def evaluate(values: Mapping[str, object]) -> cel.Value:
            return expression.eval(data=values)

        return Condition(text, evaluate)


def _refusal(error: str) -> ExpressionError:
    place = _PLACE.search(error)
    if place is None:
        return ExpressionError(line=0, column=0, problem=_words(error))
    return ExpressionError(
        line=int(place.group(1)), column=int(place.group(2)), problem=place.group(3).strip()
    )


def _words(error: str) -> str:
    """The first line of an error without its code."""
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", error.splitlines()[0])


def _article(kind: str) -> str:
    return f"an {kind}" if kind.startswith(("i", "a", "e", "o")) else f"a {kind}"
