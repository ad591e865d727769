"""Background tasks: begun again after a failure, and ended though a cancellation was lost."""

import asyncio

from shared import background

SECONDS_MAX = 60
"""Where a test would hang for ever without what it shows."""


async def test_a_task_that_fails_is_begun_again() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ValueError("once")

    await background.supervised("test", work)
    assert begun == 2


async def test_a_task_that_loses_a_cancellation_is_ended() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    tasks = [asyncio.ensure_future(background.supervised("test", work)) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(SECONDS_MAX):
        await background.end(tasks)
    assert lost == 2
    assert all(task.cancelled() for task in tasks)


async def test_tasks_that_have_ended_are_no_matter() -> None:
    async def fails() -> None:
        raise ValueError("ended")

    failed = asyncio.ensure_future(fails())
    await asyncio.wait([failed])
    await background.end([failed])
    await background.end([])
    assert isinstance(failed.exception(), ValueError)
