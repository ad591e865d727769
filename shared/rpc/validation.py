"""What the protos say about their own fields, enforced (protovalidate)."""

import protovalidate
from google.protobuf.message import Message

from shared import errors

_validator = protovalidate.Validator()


def violations(message: Message) -> tuple[errors.Violation, ...]:
    """What is wrong with a message; each with its field's path, such as `lines[3].quantity`."""
    found = _validator.collect_violations(message)
    if not found:
        return ()
    return tuple(
        errors.Violation(field=_path(violation.proto), description=_words(violation.proto))
        for violation in found
    )


def check(message: Message) -> None:
    """Refuse FieldViolations when something is wrong with a message."""
    found = violations(message)
    if found:
        raise errors.FieldViolations(violations=found)


def _path(violation: object) -> str:
    parts: list[str] = []
    for element in violation.field.elements:  # type: ignore[attr-defined]
        parts.append(f".{element.field_name}" if parts else str(element.field_name))
        subscript = element.subscript
        if subscript is not None:
            parts.append(f"[{getattr(subscript, 'value', subscript)}]")
    return "".join(parts)


def _words(violation: object) -> str:
    return str(violation.message or violation.rule_id)  # type: ignore[attr-defined]
