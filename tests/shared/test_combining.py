"""Questions that arrive together are asked together, and nobody's failure is another's."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.combining import Combiner


class Doubling:
    """Doubles numbers, takes so many turns of the loop for it, and remembers what was asked."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    async def __call__(self, questions: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(tuple(questions))
        await asyncio.sleep(0)
        if 13 in questions:
            raise OSError("away")
        return [ValueError("odd") if each % 2 else 2 * each for each in questions]


async def ask_after(combiner: Combiner[int, int], turns: int, question: int) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await combiner.ask(question)


async def test_questions_that_come_some_turns_apart_are_asked_together() -> None:
    doubling = Doubling()
    combiner = Combiner(doubling, batch_max=64)
    asked = [ask_after(combiner, 5 * number, 2 * number) for number in range(20)]
    assert await asyncio.gather(*asked) == [4 * number for number in range(20)]
    assert doubling.batches == [tuple(range(0, 40, 2))]


async def test_a_question_that_comes_much_later_is_asked_next() -> None:
    doubling = Doubling()
    combiner = Combiner(doubling, batch_max=64)
    await asyncio.gather(ask_after(combiner, 0, 2), ask_after(combiner, 100, 4))
    assert doubling.batches == [(2,), (4,)]


async def test_a_batch_has_a_limit() -> None:
    doubling = Doubling()
    combiner = Combiner(doubling, batch_max=8)
    await asyncio.gather(*[combiner.ask(2 * number) for number in range(20)])
    assert [len(batch) for batch in doubling.batches] == [8, 8, 4]


async def test_each_question_has_its_own_answer_or_refusal() -> None:
    combiner = Combiner(Doubling(), batch_max=64)
    found = await asyncio.gather(combiner.ask(2), combiner.ask(3), return_exceptions=True)
    assert found[0] == 4
    assert isinstance(found[1], ValueError)


async def test_a_failure_of_the_whole_batch_goes_to_everyone_in_it_and_to_nobody_later() -> None:
    combiner = Combiner(Doubling(), batch_max=64)
    found = await asyncio.gather(combiner.ask(2), combiner.ask(13), return_exceptions=True)
    assert [type(each) for each in found] == [OSError, OSError]
    assert await combiner.ask(4) == 8


async def test_who_was_cancelled_is_not_asked_for() -> None:
    doubling = Doubling()
    combiner = Combiner(doubling, batch_max=64)
    first, second = asyncio.ensure_future(combiner.ask(2)), asyncio.ensure_future(combiner.ask(4))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 8
    with pytest.raises(asyncio.CancelledError):
        await first
    assert doubling.batches == [(4,)]


class Slowly:
    """Answers after some milliseconds, and remembers what was asked."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, ...]] = []

    async def __call__(self, questions: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(tuple(sorted(questions)))
        await asyncio.sleep(0.2)
        return list(questions)


async def test_who_is_answered_and_asks_again_joins_those_who_waited_meanwhile() -> None:
    slowly = Slowly()
    combiner = Combiner(slowly, batch_max=64)

    async def ask_twice(name: str) -> None:
        await combiner.ask(name)
        await asyncio.sleep(0.005)  # far more than the turns that a batch lingers anyway
        await combiner.ask(name)

    first = asyncio.ensure_future(ask_twice("first"))
    await asyncio.sleep(0.005)
    await asyncio.gather(combiner.ask("second"), first)
    assert slowly.batches == [("first",), ("first", "second")]


async def test_nobody_is_waited_for_who_does_not_ask_again() -> None:
    slowly = Slowly()
    combiner = Combiner(slowly, batch_max=64)
    first = asyncio.ensure_future(combiner.ask("first"))
    await asyncio.sleep(0.005)
    assert await asyncio.wait_for(combiner.ask("second"), timeout=10) == "second"
    assert await first == "first"
    assert slowly.batches == [("first",), ("second",)]
