"""What a pure decision gives back: the new state, the answer, and what follows from it.

A service's `domain.py` says `decide(state, command, now) -> Decision`, or raises a refusal.
It never touches a database, a clock or the network, so previews, simulations, replays and
explanations run the very same code as the real thing.
"""

from typing import Generic, TypeAlias, TypeVar

from shared.values import value

S_co = TypeVar("S_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)

Event: TypeAlias = object
"""Any frozen dataclass of a service's domain, named in the past tense."""


@value
class Intention:
    """A call that must happen after the commit: stored with the effects, driven by a worker.

    `intention_id` is unique in the service and is also the idempotency key of the calls made on
    its behalf; `kind` names the handler; `payload` is JSON text (`shared.record.dumps`).
    """

    intention_id: str
    kind: str
    payload: str
    program_id: str
    member_key: str


@value
class Decision(Generic[S_co, A_co]):
    """State, answer, events in order, intentions opened, and ids of the intentions closed."""

    state: S_co
    answer: A_co
    events: tuple[Event, ...] = ()
    intentions: tuple[Intention, ...] = ()
    closes: tuple[str, ...] = ()
