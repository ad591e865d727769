"""Differences of two documents, and what applying one over the other makes of it."""

from collections.abc import Mapping

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from guerdon.feed.v1 import program_document_pb2
from shared.differences import Difference, Kind, differences, left_out, merge, to_proto

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _FIELD.TYPE_STRING, "int": _FIELD.TYPE_INT64, "bytes": _FIELD.TYPE_BYTES}
# A program of rules (each with prices in currencies), ladders of levels, texts, labels and a grace.
_MESSAGES: Mapping[str, Mapping[str, str]] = {
    "Price": {"currency_id": "string", "points": "int"},
    "EarningRule": {"note": "string", "rule_id": "string", "prices": "*Price", "state": "State"},
    "Level": {"level_id": "string", "threshold": "int"},
    "Ladder": {"ladder_id": "string", "levels": "*Level"},
    "Texts": {"rules": "*EarningRule"},
    "Document": {
        "title": "string",
        "rules": "*EarningRule",
        "ladders": "*Ladder",
        "tags": "*string",
        "texts": "Texts",
        "grace": ".google.protobuf.Duration",
        "seal": "bytes",
    },
}


def _document_type() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(
        name="differences_test.proto", package="differences_test", syntax="proto3"
    )
    file.dependency.append(Duration.DESCRIPTOR.file.name)
    state = file.enum_type.add(name="State")
    state.value.add(name="STATE_UNSPECIFIED", number=0)
    state.value.add(name="STATE_ACTIVE", number=1)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            field = message.field.add(name=field_name, number=number)
            repeated, plain = kind.startswith("*"), kind.removeprefix("*")
            field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if plain in _SCALARS:
                field.type = _SCALARS[plain]
            else:
                field.type = _FIELD.TYPE_ENUM if plain == "State" else _FIELD.TYPE_MESSAGE
                field.type_name = plain if plain.startswith(".") else f".differences_test.{plain}"
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("differences_test.Document"))


Document = _document_type()


def _document(content: Mapping[str, object]) -> Message:
    return json_format.ParseDict(dict(content), Document())


def _found(old: Mapping[str, object] | None, new: Mapping[str, object]) -> list[tuple[str, ...]]:
    found = differences(None if old is None else _document(old), _document(new))
    return [(each.kind.value, each.path, each.before, each.after) for each in found]


def _rules(*names: str) -> dict[str, object]:
    return {"rules": [{"rule_id": name} for name in names]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"title": "a"}, {"title": "a"}, [], id="equal documents do not differ"),
        pytest.param(
            None, {"title": "a"}, [("added", "title", "", '"a"')], id="a first document is added"
        ),
        pytest.param(
            {"title": "a"},
            {"title": "b"},
            [("changed", "title", '"a"', '"b"')],
            id="a scalar changes",
        ),
        pytest.param(
            {"title": "a"}, {}, [("removed", "title", '"a"', "")], id="a scalar is taken out"
        ),
        pytest.param(
            {"rules": [{"rule_id": "a", "note": "x", "state": "STATE_ACTIVE"}]},
            {"rules": [{"rule_id": "a", "note": "y"}]},
            [
                ("changed", "rules[a].note", '"x"', '"y"'),
                ("removed", "rules[a].state", '"STATE_ACTIVE"', ""),
            ],
            id="an element is compared field by field under its key",
        ),
        pytest.param(
            _rules("a", "b"),
            _rules("a", "c", "b"),
            [("added", "rules[c]", "", '{"rule_id":"c"}')],
            id="an inserted element does not change the next",
        ),
        pytest.param(
            _rules("a", "b"),
            _rules("b"),
            [("removed", "rules[a]", '{"rule_id":"a"}', "")],
            id="an element that is missing is listed",
        ),
        pytest.param(
            _rules("a", "b"),
            _rules("b", "a"),
            [("changed", "rules", '["a","b"]', '["b","a"]')],
            id="a new order is listed once",
        ),
        pytest.param(
            {"tags": ["x", "y"]},
            {"tags": ["x", "z"]},
            [("changed", "tags[1]", '"y"', '"z"')],
            id="a list of scalars is compared by position",
        ),
        pytest.param(
            {"rules": [{"note": "x"}, {"note": "y"}]},
            {"rules": [{"note": "x"}, {"note": "z"}]},
            [("changed", "rules[1].note", '"y"', '"z"')],
            id="elements without a key are compared by position",
        ),
        pytest.param(
            {"grace": "60s"},
            {"grace": "90s"},
            [("changed", "grace", '"60s"', '"90s"')],
            id="a duration is one value",
        ),
        pytest.param(
            {"seal": "AAE="},
            {"seal": "AAI="},
            [("changed", "seal", '"AAE="', '"AAI="')],
            id="bytes are shown as base64",
        ),
        pytest.param(
            {"texts": {}},
            {},
            [("removed", "texts", "{}", "")],
            id="an empty message that is present differs from an absent one",
        ),
    ],
)
def test_differences_are_listed_by_path(
    old: Mapping[str, object] | None, new: Mapping[str, object], expected: list[tuple[str, ...]]
) -> None:
    assert _found(old, new) == expected


def test_a_difference_is_a_plain_value() -> None:
    assert differences(None, _document({"title": "a"})) == (
        Difference(kind=Kind.ADDED, path="title", before="", after='"a"'),
    )


def test_without_prune_what_only_the_old_document_has_is_kept_in_its_place() -> None:
    old, new = _document(_rules("a", "b", "c", "d")), _document(_rules("d", "x", "a"))
    assert merge(old, new, prune=False) == _document(_rules("d", "x", "a", "b", "c"))
    assert left_out(old, new) == ("rules[b]", "rules[c]")


def test_with_prune_the_new_document_stands_alone() -> None:
    old, new = _document(_rules("a", "b")), _document(_rules("b"))
    assert merge(old, new, prune=True) == new


def test_an_element_in_both_documents_is_the_new_one() -> None:
    old = _document({"rules": [{"rule_id": "a", "note": "x", "state": "STATE_ACTIVE"}]})
    new = _document({"rules": [{"rule_id": "a", "note": "y"}]})
    assert merge(old, new, prune=False) == new
    assert left_out(old, new) == ()


def test_a_level_is_a_thing_of_its_own_and_is_kept_inside_its_ladder() -> None:
    silver, gold = {"level_id": "silver"}, {"level_id": "gold", "threshold": "5"}
    old = _document({"ladders": [{"ladder_id": "main", "levels": [silver, gold]}]})
    new = _document({"ladders": [{"ladder_id": "main", "levels": [{"level_id": "silver"}]}]})
    assert merge(old, new, prune=False) == old
    assert left_out(old, new) == ("ladders[main].levels[gold]",)


def test_a_reference_inside_an_element_belongs_to_the_element() -> None:
    old = _document({"rules": [{"rule_id": "a", "prices": [{"currency_id": "points"}]}]})
    new = _document({"rules": [{"rule_id": "a", "prices": []}]})
    assert merge(old, new, prune=False) == new
    assert left_out(old, new) == ()


def test_lists_inside_a_part_of_the_document_are_the_documents_own() -> None:
    old = _document({"texts": _rules("a", "b")})
    new = _document({"texts": _rules("b")})
    assert merge(old, new, prune=False) == old
    assert left_out(old, new) == ("texts.rules[a]",)


def test_a_list_in_which_a_key_repeats_is_taken_as_it_is() -> None:
    old, new = _document(_rules("a", "b")), _document(_rules("c", "c"))
    assert merge(old, new, prune=False) == new


def test_merging_leaves_both_documents_as_they_were() -> None:
    old, new = _document(_rules("a")), _document(_rules("b"))
    merge(old, new, prune=False)
    assert (old, new) == (_document(_rules("a")), _document(_rules("b")))


def test_what_is_kept_is_listed_as_kept_and_what_is_pruned_as_removed() -> None:
    old, new = _document({"title": "t", **_rules("a", "b")}), _document(_rules("b"))
    kinds = [
        [(each.path, each.kind) for each in differences(old, new, prune=prune)]
        for prune in (False, True)
    ]
    assert kinds == [
        [("title", Kind.REMOVED), ("rules[a]", Kind.KEPT)],
        [("title", Kind.REMOVED), ("rules[a]", Kind.REMOVED)],
    ]


def test_a_long_value_is_cut_to_what_the_answer_may_carry() -> None:
    (found,) = differences(None, _document({"title": "x" * 5_000}))
    assert len(found.after) == 4_096


def test_differences_go_over_the_wire_with_what_is_done() -> None:
    found = differences(_document(_rules("a")), _document({"title": "t"}), prune=False)
    assert to_proto(found) == [
        program_document_pb2.Difference(
            path="title", change=program_document_pb2.Difference.CHANGE_ADDED, after='"t"'
        ),
        program_document_pb2.Difference(
            path="rules[a]",
            change=program_document_pb2.Difference.CHANGE_KEPT,
            before='{"rule_id":"a"}',
        ),
    ]
