"""Requests drawn from their descriptors: mostly plausible, here and there absurd."""

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH_MAX = 4
ODD_TEXTS = (
    "",
    "\0",
    "a\0b",
    "x" * 10_000,
    "é" * 65,
    "\U0001f389",
    "' OR 1=1 --",
    "%s{}",
    "\n",
    " ",
)
CONDITIONS = (
    "",
    'line.category == "product"',
    "activity.payment.amount_minor > 0",
    "1 / 0 == 1",
    "line.nothing",
    "((((",
    "[1,2,3].all(x, [1,2,3].all(y, x + y > 0))",
    "9223372036854775807 + activity.payment.amount_minor > 0",
    'activity.attributes["a"].string_value == "b"',
    "tier",
)
LIKELY: Mapping[str, tuple[str, ...]] = {
    "program_id": ("giftshop",),
    "member_id": ("bob", "zoe", "card-7"),  # ann stays, whoever is erased
    "member_ids": ("ann", "bob", "zoe"),
    "identifier": ("card-1", "card-7", "bob"),
    "card_id": ("card-7", "zoe", "card-1"),
    "kind": ("card", "member_id"),
    "source_member_id": ("dan", "zoe", "bob"),
    "target_member_id": ("eve", "bob"),
    "language": ("en", "not one"),
    "member_key": ("0" * 32,),
    "activity_id": ("p1", "p2", "p3"),
    "reversal_id": ("r1", "r2"),
    "request_id": ("q1", "q2", "q3"),
    "hold_id": ("h1",),
    "type": ("purchase", "check_in"),
    "currency_code": ("GBP", "EUR"),
    "money_currency_code": ("GBP",),
    "currency_id": ("", "points"),
    "ladder_id": ("", "main"),
    "tier_ladder_id": ("", "main"),
    "board_id": ("top-earners", "spend"),
    "reward_id": ("five-pounds", "mug"),
    "period": ("", "all", "2010-12", "9999-12", "0001-01"),
    "level_id": ("member", "gold"),
    "level_ids": ("member", "gold"),
    "badge_id": ("regular",),
    "time_zone": ("Europe/London", "Nowhere/Land", "/etc/passwd", ".."),
    "page_token": ("", "bm9uc2Vuc2U", "!"),
    "wait_for_token": ("", "a:b:c", "earning:0:-1"),
    "etag": ("", "1-a"),
    "incarnation": ("", "a"),
    "source": ("", "earning", "till 7"),
    "paths": (
        "birth_date",
        "segments",
        "price_points",
        "stock_total",
        "reward_id",
        "nothing",
        "price_points.x",
    ),
    "condition": CONDITIONS,
    "line_condition": CONDITIONS,
    "of": ("line.sku", "activity.type", *CONDITIONS),
}
SECONDS = (
    *(1_291_190_400, 1_291_190_401, 1_291_100_000, 60, 3600, 86_400),
    *(0, 1, -1, 1_291_190_400, 1_298_937_600, 253_402_300_799, 253_402_300_800),
    *(-62_135_596_800, -62_135_596_801, 2**63 - 1, -(2**63), 253_370_764_799),
)
NANOS = (*[0] * 12, 1, 999_999_999, 1_000_000_000, -1)
NUMBERS = (*range(1, 13), 50, 100, 0, 1000, 1001, -1, 10**9, 10**12, 10**15, 10**15 + 1)


def requests(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of a type."""
    kind = GetMessageClass(descriptor)
    if descriptor.full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
        return st.builds(kind, seconds=st.sampled_from(SECONDS), nanos=st.sampled_from(NANOS))

    @st.composite
    def drawn(draw: st.DrawFn) -> Message:
        message: Any = kind()  # its fields are known to the descriptor only
        for field in descriptor.fields:
            if not draw(st.integers(0, 14)):
                continue
            inner = field.message_type
            if inner is not None and depth >= DEPTH_MAX:
                continue
            if inner is not None and inner.GetOptions().map_entry:
                value = values(inner.fields_by_name["value"], depth)
                for key, each in draw(st.dictionaries(texts("key"), value, max_size=2)).items():
                    if inner.fields_by_name["value"].message_type is None:
                        getattr(message, field.name)[key] = each
                    else:
                        getattr(message, field.name)[key].CopyFrom(each)
            elif field.is_repeated:
                getattr(message, field.name).extend(
                    draw(st.lists(values(field, depth), max_size=2))
                )
            elif inner is not None:
                getattr(message, field.name).CopyFrom(draw(values(field, depth)))
            else:
                setattr(message, field.name, draw(values(field, depth)))
        return cast("Message", message)

    return drawn()


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Single values of a field."""
    if field.message_type is not None:
        return requests(field.message_type, depth + 1)
    if field.enum_type is not None:
        known = [each.number for each in field.enum_type.values]
        return st.sampled_from([*known[1:] * 8, *known, 77, -1])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_STRING:
        return texts(field.name)
    bits = 31 if field.type == FieldDescriptor.TYPE_INT32 else 63
    numbers = [each for each in NUMBERS if each < 2**bits]
    return st.sampled_from([*numbers, *range(1, 13), 2**bits - 1, -(2**bits)])


def texts(name: str) -> st.SearchStrategy[str]:
    """Texts for a field of this name: mostly plausible ones."""
    likely = LIKELY.get(name, ("some", "text"))
    return st.integers(0, 29).flatmap(
        lambda number: (
            st.sampled_from(likely)
            if number < 28
            else st.sampled_from(ODD_TEXTS)
            if number == 28
            else st.text(max_size=20)
        )
    )
