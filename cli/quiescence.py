"""Waits until a cluster is quiet: nothing is on its way from one service to another any more.

Quiet means that every follower's cursor stands at its source's head, every board's cursor at its
source, no intention is open and no job is due, and that a second look finds the same heads
(architecture, idea 4).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from cli.peers import Peers
from guerdon.feed.v1 import feed_service_pb2 as pb
from shared.clock import monotonic

_PAUSE_FIRST = 0.02
_PAUSE_MAX = 0.1

Heads = Mapping[str, tuple[tuple[str, int, int], ...]]


class NotQuiet(Exception):
    """The cluster did not become quiet, or cannot: says what is still moving or stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at all services: their heads, and what is not done, in words."""

    heads: Heads
    moving: tuple[str, ...]
    stuck: tuple[str, ...]


async def wait(peers: Peers, *, seconds_max: float = 60.0) -> None:
    """Return when the cluster is quiet.

    Raises NotQuiet at once when a member is parked, by name, and after `seconds_max` when work goes
    on.
    """
    deadline = monotonic() + seconds_max
    pause = _PAUSE_FIRST
    quiet_heads: Heads | None = None
    while True:
        look = await _look(peers)
        if look.stuck:
            raise NotQuiet("; ".join(look.stuck))
        if not look.moving and look.heads == quiet_heads:
            return
        moving = look.moving or (_moved(quiet_heads, look.heads) if quiet_heads else ())
        quiet_heads = None if look.moving else look.heads
        if not moving:
            continue  # the first quiet look is followed by the second at once
        if monotonic() > deadline:
            raise NotQuiet(f"not quiet after {seconds_max:.0f} s: " + "; ".join(moving))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _PAUSE_MAX)


def _moved(before: Heads, now: Heads) -> tuple[str, ...]:
    """Whose heads are others than at the look before, in words."""
    return tuple(f"{name} publishes more" for name in now if before.get(name) != now[name])


async def _look(peers: Peers) -> Look:
    names = tuple(peers.feeds)
    answers = await asyncio.gather(
        *(peers.feeds[name].GetHeads(pb.GetHeadsRequest()) for name in names)
    )
    by_name = dict(zip(names, answers, strict=True))
    heads = {
        name: {cursor.partition: cursor.position for cursor in answer.heads}
        for name, answer in by_name.items()
    }
    moving: list[str] = []
    stuck: list[str] = []
    for name, answer in by_name.items():
        followed: dict[str, dict[int, int]] = {}
        for cursor in answer.cursors:
            followed.setdefault(cursor.source, {})[cursor.partition] = cursor.position
        for source, positions in followed.items():
            behind = sum(
                head - positions.get(partition, 0)
                for partition, head in heads.get(source, {}).items()
            )
            if behind:
                moving.append(f"{name} is {behind} events behind {source}")
        goals = {
            (cursor.source, cursor.partition): cursor.position for cursor in answer.projection_heads
        }
        for cursor in answer.projections:
            goals[cursor.source, cursor.partition] = (
                goals.get((cursor.source, cursor.partition), 0) - cursor.position
            )
        late = sum(1 for distance in goals.values() if distance)
        if late:
            moving.append(f"{name} projects {late} board partitions")
        if answer.intentions_open:
            moving.append(f"{name} has {answer.intentions_open} open intentions")
        if answer.jobs_due:
            moving.append(f"{name} has {answer.jobs_due} jobs due")
        stuck += [f"{name} has parked member {member}" for member in answer.parked_members]
    return Look(
        heads={
            name: tuple((head.source, head.partition, head.position) for head in answer.heads)
            for name, answer in by_name.items()
        },
        moving=tuple(moving),
        stuck=tuple(stuck),
    )
