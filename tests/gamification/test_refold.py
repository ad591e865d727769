"""Folding the feed anew: any order of a member's purchases comes to the same, duplicates aside."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from services.gamification import refold
from services.gamification.document import Program, compile_program
from services.gamification.refold import Published as Said
from services.gamification.refold import Stored, VersionPlace
from services.gamification.store import MemberPlace, ProgressPlace
from tests.gamification.peers import (
    Customer,
    Published,
    at,
    events_of,
    giftshop,
)

START = at("2011-01-20T12:00")
ANN, BOB = Customer.of("ann"), Customer.of("bob")


def program() -> Program:
    """The gift shop with targets that a few purchases reach."""
    document = giftshop()
    document.challenges[0].count.target = 3
    document.challenges[1].distinct.target = 4
    return compile_program("giftshop", 1, document.SerializeToString())


PROGRAM = program()


def stored(
    versions: Sequence[VersionPlace] = (VersionPlace(program=PROGRAM, places={}),),
) -> Stored:
    """A partition of which nothing is stored."""
    return Stored(
        position=0,
        incarnation="",
        versions={"giftshop": versions},
        members=frozenset(),
        progress={},
        badges=frozenset(),
        scores={},
        open_intentions=frozenset(),
        published=Said(),
        parked=frozenset(),
    )


def folded(events: Sequence[feed_pb.Event], held: Stored | None = None) -> refold.Players:
    """Players as the events make them."""
    players: refold.Players = {}
    for event in events:
        refold.fold(players, held or stored(), event)
    return players


def shown(players: refold.Players) -> Mapping[MemberPlace, object]:
    """What of a player may not depend on the order: completions but for their instant."""
    return {
        place: (
            {
                challenge: each if each.completion is None else "completed"
                for challenge, each in player.progress.items()
            },
            player.badges,
            player.scores,
        )
        for place, player in players.items()
    }


purchases = st.lists(
    st.builds(
        lambda customer, day, skus, points: customer.buys(
            f"{customer.member_id}-{day}",
            START + timedelta(days=day),
            *skus,
            points=points,
            category="product" if day % 5 else "postage",
        ),
        customer=st.sampled_from([ANN, BOB]),
        day=st.integers(0, 150),
        skus=st.lists(st.sampled_from("abcdef"), max_size=3),
        points=st.sampled_from([0, 1, 2**53 - 1, 30]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(purchases.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_any_order_comes_to_the_same_progress_badges_and_scores(
    orders: tuple[list[Published], list[Published]],
) -> None:
    joined = [ANN.joins(START), BOB.joins(START)]
    first, second = (folded(events_of(joined + each)) for each in orders)
    assert shown(first) == shown(second)


def test_an_event_meets_the_version_of_its_place_in_the_feed() -> None:
    events = events_of(
        [ANN.joins(START), *(ANN.buys(str(n), START + timedelta(days=n), "a") for n in range(4))]
    )
    partition = events[0].partition
    newer = giftshop()
    newer.challenges[0].count.target = 2
    versions = [
        VersionPlace(
            program=compile_program("giftshop", 2, newer.SerializeToString()),
            places={partition: 3},
        ),
        VersionPlace(program=PROGRAM, places={partition: 2}),
    ]
    (player,) = folded(events, stored(versions)).values()
    # The first purchase met no document, the second the first one, the third the second.
    assert {str(key): each.count for key, each in player.progress.items()}["regular"] == 0
    completed = [key for key, each in player.progress.items() if each.completion is not None]
    assert completed == ["regular"]
    assert [score.score for score in player.scores.values()] == [30, 300]


def test_members_who_wait_behind_a_parked_event_are_left_out() -> None:
    held = replace(stored(), parked=frozenset([ANN.key]))
    assert folded(events_of([ANN.joins(START), BOB.joins(START)]), held).keys() == {
        ("giftshop", BOB.key)
    }


def test_what_is_stored_otherwise_is_told_with_the_member() -> None:
    events = events_of([ANN.joins(START), ANN.buys("1", START, "a")])
    rules: dict[str, str] = {}
    for each in refold.compare(folded(events), stored()):
        rules.setdefault(each.rule, each.subject)
    assert rules == {
        "member_equals_feed": f"giftshop/{ANN.key}",
        "progress_equals_feed": f"giftshop/{ANN.key}/explorer",
        "score_equals_feed": f"giftshop/{ANN.key}/spend/2011-01",
    }


def place(challenge: str) -> ProgressPlace:
    """Ann's place in a challenge."""
    return refold.progress_place("giftshop", ANN.key, challenge)


def test_a_completion_that_was_published_twice_is_told() -> None:
    said = Said(completed={place("regular"): 2})
    found = [each.rule for each in refold.compare({}, replace(stored(), published=said))]
    assert found == ["completion_published_once"]
