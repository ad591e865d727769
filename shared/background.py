"""Tasks that a service runs beside its calls: begun again when they fail, ended when it stops."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

logger = structlog.get_logger()

_RETRY_SECONDS = 1.0
_ASKS_AGAIN_SECONDS = 1.0


async def supervised(service: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a background task for ever.

    One that ends by an error of ours is logged and begun again.
    """
    while True:
        try:
            await work()
        except Exception:  # a task must never end silently
            logger.exception("task_failed", service=service)
        else:
            return
        await asyncio.sleep(_RETRY_SECONDS)


async def end(tasks: "Iterable[asyncio.Future[None]]") -> None:
    """Cancel tasks until they have ended.

    A client may lose a cancellation that comes while it answers: redis-py's does, once in some
    hundred times, and whoever waited for that task would wait for ever.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        ended, running = await asyncio.wait(running, timeout=_ASKS_AGAIN_SECONDS)
        await asyncio.gather(*ended, return_exceptions=True)
