"""Refusals: what the system says when it will not do what was asked.

A refusal is an exception that is also a value.
Its base class is the canonical gRPC code, its class name is the reason, its fields are the
metadata, and its message mentions nothing but its fields:

    @dataclass(eq=False, kw_only=True)
    class InsufficientPoints(errors.FailedPrecondition):
        message = "needs {points_needed} points, {points_available} available"
        points_needed: int
        points_available: int

Refusals are stored with the idempotency key of the command they answer (`dump` and `load`), and
cross the wire as `google.rpc.Status` (`shared/rpc`), where the caller finds them again as a
`RemoteRefusal`.
A field may be a str, int, bool, datetime, date, Enum, None, a dataclass of those or a tuple of
those.
"""

import inspect
import json
import string
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import ClassVar, cast

from shared.plain import as_json, as_text, from_json, upper_snake

_RESERVED = frozenset(
    {"code", "reason", "message", "transient", "metadata", "args", "kind", "violations_of"}
)
_registry: dict[str, type["Refusal"]] = {}


def _owner(module: str) -> str:
    """Service that a module belongs to: all four may live in one process and share names."""
    parts = module.split(".")
    return parts[1] if parts[0] == "services" and len(parts) > 1 else parts[0]


def _check_definition(cls: type["Refusal"]) -> None:
    known = _registry.get(cls.kind)
    if known is not None and (known.__module__, known.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise TypeError(f"{cls.kind} is defined in {known.__module__} and in {cls.__module__}")
    named = {name for base in cls.__mro__ for name in inspect.get_annotations(base)}
    own = set(inspect.get_annotations(cls))
    if own & _RESERVED:
        raise TypeError(f"{cls.__qualname__} has reserved fields: {sorted(own & _RESERVED)}")
    mentioned = {name for _, name, _, _ in string.Formatter().parse(cls.message) if name}
    if not mentioned <= named:
        raise TypeError(f"{cls.__qualname__} mentions {sorted(mentioned - named)}: not its fields")


class Refusal(Exception):
    """Root of all refusals; never raised itself.

    Class attributes: `code` (canonical gRPC name), `reason` (UPPER_SNAKE of the class name),
    `kind` (the reason, qualified by the service that owns it), `message` (format string over the
    fields), `transient` (the same request may succeed when it is sent again unchanged; a transient
    refusal is never stored).

    Raises TypeError when a subclass is defined that has a reserved field name, a message that
    mentions something else than its fields, or a reason that its service already uses.
    """

    code: ClassVar[str] = "UNKNOWN"
    message: ClassVar[str] = ""
    transient: ClassVar[bool] = False
    reason: ClassVar[str] = "REFUSAL"
    kind: ClassVar[str] = "shared.REFUSAL"

    def __init_subclass__(cls) -> None:
        """Name the reason, check the definition and remember the class for `load`."""
        super().__init_subclass__()
        cls.reason = upper_snake(cls.__name__)
        cls.kind = f"{_owner(cls.__module__)}.{cls.reason}"
        _check_definition(cls)
        _registry[cls.kind] = cls

    def metadata(self) -> dict[str, str]:
        """Every field as text; fields that are None are left out."""
        values = ((name, as_text(value)) for name, value in _values(self).items())
        return {name: text for name, text in values if text is not None}

    def violations_of(self) -> tuple["Violation", ...]:
        """Fields of the request that were at fault, for `google.rpc.BadRequest`."""
        return ()

    def __str__(self) -> str:
        """Message with the fields filled in."""
        return self.message.format_map(_values(self))

    def __repr__(self) -> str:
        """Class and fields, as a dataclass shows them."""
        inner = ", ".join(f"{name}={value!r}" for name, value in _values(self).items())
        return f"{type(self).__name__}({inner})"

    def __eq__(self, other: object) -> bool:
        """Refusals are equal when class and fields are (a stored one equals the original)."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Hash by identity of the class: fields may be long, and few refusals are ever hashed."""
        return hash(type(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field of a request (path such as `items[3].points`) and what is wrong with it."""

    field: str
    description: str


# Canonical codes ---------------------------------------------------------------------------------


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidArgument(Refusal):
    """The request is wrong whatever the state; a concrete class usually has `field: str`."""

    code = "INVALID_ARGUMENT"

    def violations_of(self) -> tuple[Violation, ...]:
        """The one field that the concrete class names, if it names one."""
        named = getattr(self, "field", None)
        return (Violation(field=named, description=str(self)),) if isinstance(named, str) else ()


@dataclass(eq=False, repr=False, kw_only=True)
class NotFound(Refusal):
    """What the request names does not exist, or not for this caller."""

    code = "NOT_FOUND"


@dataclass(eq=False, repr=False, kw_only=True)
class AlreadyExists(Refusal):
    """What the request would create is there already, and differs."""

    code = "ALREADY_EXISTS"


@dataclass(eq=False, repr=False, kw_only=True)
class FailedPrecondition(Refusal):
    """The state does not allow it; the same request fails until something else changes."""

    code = "FAILED_PRECONDITION"


@dataclass(eq=False, repr=False, kw_only=True)
class OutOfRange(Refusal):
    """A number or an instant lies beyond what can be held."""

    code = "OUT_OF_RANGE"


@dataclass(eq=False, repr=False, kw_only=True)
class PermissionDenied(Refusal):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


@dataclass(eq=False, repr=False, kw_only=True)
class Unauthenticated(Refusal):
    """The caller is not known."""

    code = "UNAUTHENTICATED"


@dataclass(eq=False, repr=False, kw_only=True)
class ResourceExhausted(Refusal):
    """Too much at once; nothing was done."""

    code = "RESOURCE_EXHAUSTED"
    transient = True


@dataclass(eq=False, repr=False, kw_only=True)
class Aborted(Refusal):
    """Somebody else was faster; the whole operation may be tried again."""

    code = "ABORTED"
    transient = True


@dataclass(eq=False, repr=False, kw_only=True)
class Unavailable(Refusal):
    """Not now; the same request may be sent again after `retry_after_seconds`."""

    code = "UNAVAILABLE"
    transient = True
    retry_after_seconds: int = 1


@dataclass(eq=False, repr=False, kw_only=True)
class Internal(Refusal):
    """A fault of ours: `error_id` finds it in the log, and nothing else is said about it."""

    code = "INTERNAL"
    message = "internal error {error_id}"
    transient = True
    error_id: str


# Refusals that belong to every service -----------------------------------------------------------


@dataclass(eq=False, repr=False, kw_only=True)
class FieldViolations(InvalidArgument):
    """The shape of the request is wrong, in one or more fields."""

    message = "{violations}"
    violations: tuple[Violation, ...]

    def metadata(self) -> dict[str, str]:
        """Number of violations: the fields themselves are told in BadRequest."""
        return {"violations": str(len(self.violations))}

    def violations_of(self) -> tuple[Violation, ...]:
        """All of them, in the order of the checks."""
        return self.violations

    def __str__(self) -> str:
        """`field: what is wrong`, the first three and how many more there are."""
        told = "; ".join(f"{each.field}: {each.description}" for each in self.violations[:3])
        more = len(self.violations) - 3
        return f"{told}; and {more} more" if more > 0 else told


@dataclass(eq=False, repr=False, kw_only=True)
class MalformedRequest(InvalidArgument):
    """The bytes that were sent are not the message that the method takes."""

    message = "the request is not a {message_type}"
    message_type: str


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidPageToken(InvalidArgument):
    """The page token was not made by this list with this query."""

    message = "{field} does not belong to this query"
    field: str = "page_token"


@dataclass(eq=False, repr=False, kw_only=True)
class IdempotencyKeyReused(AlreadyExists):
    """The request id has already been used for a request that says something else."""

    message = "request id {request_id} was used for another request"
    request_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class Overloaded(ResourceExhausted):
    """More work is waiting than the server takes; nothing was done."""

    message = "too much work at once, the limit is {limit}"
    limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class Interrupted(Aborted):
    """The server gave up the call before it had an answer; what was asked may have happened."""

    message = "the call was interrupted, send it again"


@dataclass(eq=False, repr=False, kw_only=True)
class ProgramNotFound(NotFound):
    """No program has this id."""

    message = "no program {program_id}"
    program_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class MemberNotFound(NotFound):
    """No member of the program has this identifier."""

    message = "no member {member_id}"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class EtagMismatch(Aborted):
    """The resource was changed since it was read: read it again, then decide."""

    message = "the etag is {actual}, not {expected}"
    transient = False
    expected: str
    actual: str


@dataclass(eq=False, repr=False, kw_only=True)
class NotReady(Unavailable):
    """Something the answer needs is still catching up or starting."""

    message = "{what} is not ready"
    what: str


class RemoteRefusal(Refusal):
    """A refusal of another service, or a stored one whose class is gone.

    It can be raised again: the caller then sees the other service's reason as it was.
    `code`, `reason`, `transient` belong to the instance; `text` is the message.
    """

    def __init__(
        self,
        *,
        code: str,
        reason: str,
        text: str,
        fields_text: Mapping[str, str],
        violations: tuple[Violation, ...] = (),
        transient: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep what came over the wire; nothing is interpreted."""
        super().__init__(text)
        self.text = text
        self.fields_text = dict(fields_text)
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds
        # Instance values over class variables: here alone the code is not known to the class.
        self.__dict__.update(code=code, reason=reason, transient=transient)

    def metadata(self) -> dict[str, str]:
        """Metadata that the other service gave."""
        return dict(self.fields_text)

    def violations_of(self) -> tuple[Violation, ...]:
        """Field violations that the other service gave."""
        return self.violations

    def __str__(self) -> str:
        """Message that the other service gave."""
        return self.text

    def __repr__(self) -> str:
        """Code, reason and text."""
        return f"RemoteRefusal({self.code} {self.reason}: {self.text})"


# Storing -----------------------------------------------------------------------------------------


def dump(refusal: Refusal) -> str:
    """JSON text of a refusal, to be stored and given to `load`."""
    stored = {
        "kind": refusal.kind,
        "code": refusal.code,
        "reason": refusal.reason,
        "text": str(refusal),
        "metadata": refusal.metadata(),
        "fields": {name: as_json(value) for name, value in _values(refusal).items()},
    }
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> Refusal:
    """Refusal that was stored as `text`, as an instance of its own class.

    A repeated request gets the same answer even after its class was renamed or its fields were
    changed: then the answer is a `RemoteRefusal` with the code, reason, message and metadata that
    were stored.
    """
    stored = json.loads(text)
    found = _registry.get(stored["kind"])
    if found is not None and is_dataclass(found):
        hints = typing.get_type_hints(found)
        given = stored["fields"]
        if set(given) == {field.name for field in fields(found)}:
            restored = {name: from_json(hints[name], value) for name, value in given.items()}
            return cast("Refusal", found(**restored))
    return RemoteRefusal(
        code=stored["code"],
        reason=stored["reason"],
        text=stored["text"],
        fields_text=stored["metadata"],
    )


def registered() -> dict[str, type[Refusal]]:
    """Every refusal class defined so far, by kind (`earning.INSUFFICIENT_POINTS`)."""
    return dict(_registry)


def _values(refusal: Refusal) -> dict[str, object]:
    if not is_dataclass(refusal):
        return {}
    return {field.name: getattr(refusal, field.name) for field in fields(refusal)}
