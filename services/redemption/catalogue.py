"""Creates, changes and lists single rewards of a catalogue.

Each change is a new version of the whole document, made in one transaction with the idempotency key
of the request. A refusal is stored with the key in a transaction of its own, because what was begun
before it is undone.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from guerdon.redemption.v1 import reward_pb2 as pb
from services.redemption import refusals, store, tables, wire
from services.redemption.documents import Catalogues, Documents, check
from services.redemption.domain import Catalogue
from shared import errors, keys, paging, record
from shared.database import Database, Tx
from shared.feed_log import Place
from shared.keys import RequestKey, Settlement, StoredAnswer
from shared.programs import Versioned
from shared.rpc import validation

_PAGE_SIZE, _PAGE_SIZE_MAX = 50, 1_000
_OUTPUT_ONLY = ("stock_left", "etag")
_FIXED = {"reward_id", "kind", *_OUTPUT_ONLY}
CHANGEABLE = tuple(field.name for field in pb.Reward.DESCRIPTOR.fields if field.name not in _FIXED)
"""The fields that an update may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A reward after its change, and the place of the change in the feed."""

    reward: pb.Reward
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPage:
    """A page of rewards, and the token of the next; empty on the last."""

    rewards: tuple[pb.Reward, ...]
    next_page_token: str


class Rewards:
    """The rewards of catalogues, one by one."""

    def __init__(self, database: Database, catalogues: Catalogues, documents: Documents) -> None:
        self._database = database
        self._catalogues = catalogues
        self._documents = documents

    async def create(self, program_id: str, request_id: str, reward: pb.Reward) -> Changed:
        """Put a new reward into the catalogue; what it says of stock_left and etag is ignored.

        Refuses ProgramNotFound, RewardAlreadyExists, StockBelowSold or InvalidProgram.
        """
        added = _without(reward, *_OUTPUT_ONLY)

        async def edit(tx: Tx) -> tuple[pb.Reward, Place | None]:
            before, document = await self._in_force(tx, program_id)
            if reward.reward_id in before.program.rewards:
                raise refusals.RewardAlreadyExists(reward_id=reward.reward_id)
            document.rewards.append(added)
            return await self._put(tx, before, document, added)

        key = _key(program_id, "create_reward", request_id, (added,))
        return await self._once(key, edit)

    async def update(
        self, program_id: str, request_id: str, reward: pb.Reward, fields: tuple[str, ...]
    ) -> Changed:
        """Make the named fields of a reward what they are in `reward`; absent ones are cleared.

        Refuses FieldNotChangeable, ProgramNotFound, RewardNotFound, EtagMismatch, FieldViolations,
        StockBelowSold or InvalidProgram.
        """
        _check_fields(reward, fields)

        async def edit(tx: Tx) -> tuple[pb.Reward, Place | None]:
            before, document = await self._in_force(tx, program_id)
            found = [each for each in document.rewards if each.reward_id == reward.reward_id]
            if not found:
                raise refusals.RewardNotFound(program_id=program_id, reward_id=reward.reward_id)
            etag = wire.etag_of(found[0])
            if reward.etag and reward.etag != etag:
                raise errors.EtagMismatch(expected=reward.etag, actual=etag)
            for name in fields:
                _take(found[0], reward, name)
            _check_reward(found[0])
            return await self._put(tx, before, document, found[0])

        asked = _without(reward, "stock_left")
        key = _key(program_id, "update_reward", request_id, (asked, *sorted(set(fields))))
        return await self._once(key, edit)

    async def page(self, program_id: str, *, page_size: int, page_token: str) -> RewardPage:
        """The rewards of a program by identifier; refuses ProgramNotFound and InvalidPageToken."""
        query = paging.digest_of("rewards", program_id)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        after = _after(paging.decode(page_token, query))
        async with self._database.reading() as tx:
            _, document = await self._in_force(tx, program_id)
            shelves = await store.shelves_of(tx, program_id)
        listed = sorted(document.rewards, key=lambda reward: reward.reward_id)
        rest = [reward for reward in listed if reward.reward_id > after]
        shown = tuple(
            wire.reward_to_proto(each, shelves.get(each.reward_id), wire.etag_of(each))
            for each in rest[:size]
        )
        token = paging.encode(query, (shown[-1].reward_id,)) if len(rest) > size else ""
        return RewardPage(rewards=shown, next_page_token=token)

    async def _in_force(
        self, tx: Tx, program_id: str
    ) -> tuple[Versioned[Catalogue], pb.RedemptionProgram]:
        before = await self._catalogues.require(tx, program_id)
        return before, self._documents.content_of(before) or pb.RedemptionProgram()

    async def _put(
        self,
        tx: Tx,
        before: Versioned[Catalogue],
        document: pb.RedemptionProgram,
        reward: pb.Reward,
    ) -> tuple[pb.Reward, Place | None]:
        check(document)
        edited = await self._documents.edit(tx, before, document, author=before.version.author)
        shelves = await store.shelves_of(tx, document.program_id)
        shown = wire.reward_to_proto(reward, shelves.get(reward.reward_id), wire.etag_of(reward))
        return shown, edited.places.get(reward.reward_id)

    async def _once(
        self, key: RequestKey, edit: Callable[[Tx], Awaitable[tuple[pb.Reward, Place | None]]]
    ) -> Changed:
        """Edit once per key; a repeat is answered, or refused, as the first time."""
        table = tables.kernel.request_keys

        async def decide(tx: Tx) -> Changed:
            stored = await keys.claim(tx, table, [key])
            if key.identity in stored:
                return _repeated(key, stored[key.identity])
            reward, place = await edit(tx)
            partition, position = place if place is not None else (None, None)
            settlement = Settlement(
                key=key,
                answer=reward.SerializeToString(deterministic=True),
                partition=partition,
                position=position,
            )
            await keys.settle(tx, table, [settlement])
            return Changed(reward=reward, token=_token(place))

        async def refuse(tx: Tx) -> Changed | None:
            stored = await keys.claim(tx, table, [key])
            if key.identity in stored:
                return _repeated(key, stored[key.identity])
            await keys.settle(tx, table, [Settlement(key=key, refusal=refusal)])
            return None

        try:
            return await self._documents.one_at_a_time(decide)
        except errors.Refusal as refused:
            refusal = refused
        if not refusal.transient:
            first = await self._documents.one_at_a_time(refuse)
            if first is not None:
                return first
        raise refusal


def _repeated(key: RequestKey, stored: StoredAnswer) -> Changed:
    if stored.digest != key.digest:
        raise errors.IdempotencyKeyReused(request_id=key.request_id)
    if stored.refusal is not None:
        raise errors.load(stored.refusal)
    reward = pb.Reward.FromString(record.loads(bytes, stored.answer or '""'))
    if stored.partition is None or stored.position is None:
        return Changed(reward=reward, token="")
    return Changed(reward=reward, token=_token((stored.partition, stored.position)))


def _token(place: Place | None) -> str:
    return f"redemption:{place[0]}:{place[1]}" if place is not None else ""


def _key(
    program_id: str, scope: str, request_id: str, asked: tuple[pb.Reward | str, ...]
) -> RequestKey:
    digest = hashlib.sha256()
    for part in asked:
        content = (
            part.encode() if isinstance(part, str) else part.SerializeToString(deterministic=True)
        )
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return RequestKey(
        program_id=program_id, scope=scope, request_id=request_id, digest=digest.hexdigest()
    )


def _check_fields(reward: pb.Reward, fields: tuple[str, ...]) -> None:
    """Refuse a mask that names nothing, or what no update changes, and a reward without a name."""
    found = []
    if not reward.reward_id:
        found.append(errors.Violation(field="reward.reward_id", description="must name the reward"))
    if not fields:
        text = f"must name at least one of {', '.join(CHANGEABLE)}"
        found.append(errors.Violation(field="update_mask", description=text))
    if found:
        raise errors.FieldViolations(violations=tuple(found))
    for name in fields:
        if name not in CHANGEABLE:
            raise refusals.FieldNotChangeable(field_name=name, changeable=", ".join(CHANGEABLE))


def _check_reward(reward: pb.Reward) -> None:
    """Refuse a reward whose new values are wrong, with the paths of the request."""
    found = validation.violations(reward)
    if found:
        raise errors.FieldViolations(
            violations=tuple(
                errors.Violation(field=f"reward.{each.field}", description=each.description)
                for each in found
            )
        )


def _without(reward: pb.Reward, *names: str) -> pb.Reward:
    copied = pb.Reward()
    copied.CopyFrom(reward)
    _clear(copied, names)
    return copied


def _take(target: pb.Reward, source: pb.Reward, name: str) -> None:
    """Make one field of `target` what it is in `source`."""
    _clear(target, (name,))
    others = [field.name for field in pb.Reward.DESCRIPTOR.fields if field.name != name]
    target.MergeFrom(_without(source, *others))


def _clear(message: Message, names: tuple[str, ...] | list[str]) -> None:
    for name in names:
        message.ClearField(name)


def _after(position: tuple[str | int, ...] | None) -> str:
    match position:
        case None:
            return ""
        case (str(reward_id),):
            return reward_id
        case _:
            raise errors.InvalidPageToken
