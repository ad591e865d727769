"""Conditions: what compiles, what is refused and where, what failing at run time means."""

import gc
import resource
import time

import pytest

from guerdon.feed.v1 import feed_service_pb2 as pb
from shared import errors
from shared.expressions import Condition, Environment, ExpressionError, Verdict

ENV = Environment(
    {
        "event": pb.Event.DESCRIPTOR,
        "page": pb.ReadEventsResponse.DESCRIPTOR,
        "tier": "string",
        "n": "int",
        "vip": "bool",
        "labels": "map",
    }
)
EVENT = pb.Event(partition=3, position=7, program_id="p", member_key="ab" * 16)
MATCHED, NOT_MATCHED = Verdict(matched=True), Verdict(matched=False)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("event.position > 6 && tier == 'gold'", MATCHED),
        ("event.position > 7", NOT_MATCHED),
        ("event.create_time < timestamp('2026-01-01T00:00:00Z')", MATCHED),
        ("event.create_time.getDayOfWeek('Europe/London') == 4", MATCHED),
        ("vip || n == 1", NOT_MATCHED),
        ("'till' in labels && labels['till'] == '4'", MATCHED),
        ("tier.matches('^g.*d$')", MATCHED),
        ("tier.matches('(a|b){50}')", NOT_MATCHED),
        ("has(event.payload)", NOT_MATCHED),
    ],
)
def test_a_condition_answers_about_messages_and_scalars(text: str, verdict: Verdict) -> None:
    found = ENV.compile(text).matches(
        event=EVENT, tier="gold", n=3, vip=False, labels={"till": "4"}
    )
    assert found == verdict


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("event.positon > 6", 1, 6, "Event has no field 'positon'; did you mean 'position'?"),
        ("n > 1 &&\n  teir == 'gold'", 2, 3, "there is no teir; did you mean tier?"),
        ("n + 'a' > 1", 1, 3, "+ does not go with a whole number and a text"),
        ("event > 1", 1, 7, "read a field of Event: partition, position,"),
        ("event.create_time > '2026'", 1, 19, 'written timestamp("2026-01-17T00:00:00Z")'),
        ("n > 1.5", 1, 3, "write a whole number"),
        ("n == 1 and vip", 1, 8, "write && for and"),
        ("n == 1 & vip", 1, 8, "write && for and"),
        ("tier = 'gold'", 1, 6, "write == to compare"),
        ("tier == diamond", 1, 9, "and a text stands in quotes"),
        ("tier == “gold”", 1, 9, "quotes are straight ones"),
        ("tier == 'gold", 1, 9, "has no end"),
        ("vip == True", 1, 8, "there is no True; did you mean true?"),
        ("tier.startswith('g')", 1, 16, "there is no startswith; did you mean startsWith?"),
        ("n > > 1", 1, 5, "'>' is not expected here"),
        ("n >", 1, 4, "something is missing at the end"),
        ("(", 1, 2, "Syntax error"),
        ("", 1, 1, "Syntax error"),
        ("n", 1, 1, "is an int, where a bool is wanted"),
        ("n > 1" + " " * 2_000, 0, 0, "2000 is the maximum"),
        ("(" * 300 + "vip" + ")" * 300, 0, 0, "recursion limit"),
        ("tier" + "+tier" * 100 + " == ''", 0, 0, "max recursion depth"),
    ],
)
def test_what_does_not_compile_is_refused_with_its_place(
    text: str, line: int, column: int, words: str
) -> None:
    with pytest.raises(ExpressionError) as refused:
        ENV.compile(text)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert words in refused.value.problem
    assert refused.value.code == "INVALID_ARGUMENT"
    assert errors.load(errors.dump(refused.value)) == refused.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tier].map(a, a + a).map(b, b + b).size() > 0", "joins text or lists"),
        ("[[n] + [n]].exists(a, [a + a].exists(b, b.size() > 0))", "joins text or lists"),
        ("[dyn(tier)].exists(a, [a + a].exists(b, b == ''))", "joins text or lists"),
        ("tier.matches(tier)", "written out"),
        ("tier.matches('a' + tier)", "written out"),
        ("matches(tier, 'a')", "written out"),
        ("tier.matches('(a{20}){20}')", "repeat 400 times"),
        (r"r'\' == tier || tier.matches(tier) || r'\' == tier", "Invalid string"),
        ("vip // it's\n || tier.matches(tier) // '", "written out"),
        ("tier.matches( // a comment\n tier)", "written out"),
        (f"tier.matches('{'a' * 300}')", "more than 256 characters"),
        (" && ".join(["[1].all(x, x > 0)"] * 9), "8 is the maximum"),
    ],
)
def test_what_would_cost_too_much_is_refused_when_it_is_compiled(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        ENV.compile(text)
    assert words in refused.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0 == 1", "divide by zero"),
        ('int("ten") == 10', "cannot convert string to int"),
        ("[1, 2].exists(each, each / 0 == 1)", "divide by zero"),
        ('"a".matches("[")', "invalid regular expression: missing ]: ["),
    ],
)
def test_what_names_nothing_and_fails_would_always_fail_and_is_refused(
    text: str, problem: str
) -> None:
    with pytest.raises(ExpressionError) as refused:
        ENV.compile(text)
    assert refused.value.problem == f"fails whatever it is asked about: {problem}"


@pytest.mark.parametrize("text", ["true", "1 == 2", "1 / 0 == 1 || true"])
def test_a_constant_that_has_a_value_is_a_condition(text: str) -> None:
    assert ENV.compile(text).matches().error == ""


def test_a_quoted_operator_is_text() -> None:
    condition = ENV.compile(
        "[tier].exists(a, a == 'x+y.map(matches(') || [n].filter(m, m > 1).size() > 0"
    )
    assert condition.matches(tier="", n=3) == MATCHED


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("n / (n - n) > 1", "divide by zero"),
        ("9223372036854775807 + n > 0", "integer overflow"),
        ("labels['absent'] == ''", 'Key not found in map : "absent"'),
        ("dyn(tier).foo == 1", "Applying SELECT to non-message type"),
        ("event.create_time.getHours('No/Where') > 8", "Invalid timezone"),
    ],
)
def test_a_failure_at_run_time_matches_nothing_and_says_why(text: str, error: str) -> None:
    found = ENV.compile(text).matches(event=EVENT, tier="gold", n=3, vip=False, labels={})
    assert found == Verdict(matched=False, error=error)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"n": "three"},
        {"n": 2**70},
        {"n": 1.5},
        {"n": None},
        {"n": object()},
        {"n": 1, "tier": "\ud800"},
        {"n": 1, "event": pb.ReadEventsRequest()},
        {"n": 1, "event": None},
    ],
)
def test_values_of_a_wrong_type_are_a_verdict_and_no_exception(values: dict[str, object]) -> None:
    condition = ENV.compile("n == 1 && tier == 'x' && event.position > 0")
    found = condition.matches(**values)
    assert not found.matched
    assert found.error
    assert condition.evaluate(**values) is None


def test_loops_within_loops_run_into_the_budget_at_once() -> None:
    bomb = "vip"
    for name in "abcdef":
        bomb = f"[1,2,3,4,5,6,7,8,9,10].all({name}, {bomb})"
    condition = ENV.compile(bomb)
    began = time.monotonic()
    found = condition.matches(vip=True)
    assert time.monotonic() - began < 0.5
    assert found == Verdict(matched=False, error="Iteration budget exceeded")


def test_an_expression_can_give_a_number_or_a_text() -> None:
    assert ENV.compile("n * 2", result="int").evaluate(n=21) == 42
    assert ENV.compile("tier + '!'", result="string").evaluate(tier="gold") == "gold!"
    assert ENV.compile("n / 0", result="int").evaluate(n=1) is None
    with pytest.raises(ExpressionError):
        ENV.compile("n > 1", result="int")


def test_bound_values_are_asked_by_many_conditions() -> None:
    conditions = [ENV.compile(f"event.position > {number} && n == 3") for number in (6, 7, 8)]
    bound = ENV.bind(event=EVENT, n=3)
    assert [each.asked_of(bound).matched for each in conditions] == [True, False, False]
    assert conditions[0].asked_of(ENV.bind(event=None, n=3)).error


def test_asking_for_ever_holds_no_memory() -> None:
    condition = ENV.compile("event.member_key + tier == 'x'")

    def ask(times: int) -> int:
        for number in range(times):
            condition.matches(event=EVENT, tier="x" * 10_000 + str(number))
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = ask(1_000)
    assert ask(20_000) - before < 8_192, "20,000 texts of 10 kB would be 200,000 KiB"


def test_asking_costs_microseconds() -> None:
    condition = ENV.compile("event.position > 6 && tier == 'gold'")
    bound = ENV.bind(event=EVENT, tier="gold")
    # The bounds are ten times what was measured: they find a change of kind, not of weather.
    assert _microseconds(condition, bound=None) < 200
    assert _microseconds(condition, bound=bound) < 50


def _microseconds(condition: Condition, bound: object | None) -> float:
    times = 2_000
    began = time.perf_counter()
    for _ in range(times):
        if bound is None:
            condition.matches(event=EVENT, tier="gold")
        else:
            condition.asked_of(bound)  # type: ignore[arg-type]
    return (time.perf_counter() - began) / times * 1e6
