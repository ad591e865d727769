"""Stories told to a node by a Hypothesis state machine, in an event loop of their own."""

import asyncio
from collections.abc import Coroutine
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tests.conftest import open_database
from tests.earning.nodes import Node, Policies, prepared

T = TypeVar("T")


class Stories(RuleBasedStateMachine):
    """A machine whose rules await a node; each story has a number, for names of its own."""

    runner: ClassVar[asyncio.Runner]
    node: ClassVar[Node]
    stories: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).stories += 1

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        assert self.run(self.node.verify()) == []


async def told(
    machine: type[Stories],
    url: str,
    *,
    examples: int,
    steps: int = 25,
    policies: Policies | None = None,
    **changes: object,
) -> int:
    """Tell stories on an empty database, with `changes` to the program; how many were told."""
    before = machine.stories
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def tell() -> None:
        with asyncio.Runner() as runner:
            database = runner.run(open_database(url))
            machine.runner, machine.node = runner, runner.run(prepared(database, policies))
            if changes:
                runner.run(machine.node.apply(**changes))
            run_machine(machine, settings=chosen)
            runner.run(machine.node.group_commit.close())
            runner.run(database.dispose())

    await asyncio.to_thread(tell)  # the test's own loop is running here
    return machine.stories - before
