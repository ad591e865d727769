"""Programs run on uvloop where it is installed."""

import asyncio
import importlib.util

import pytest

from shared.rpc import loop


async def _kind() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_a_program_runs_on_the_fastest_loop_that_is_there() -> None:
    if importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    assert loop.run(_kind()).startswith("uvloop")


def test_what_a_program_returns_and_raises_comes_through() -> None:
    async def failing() -> None:
        raise KeyError("x")

    assert isinstance(loop.run(_kind()), str)
    with pytest.raises(KeyError):
        loop.run(failing())
