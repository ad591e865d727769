"""Two members become one: a pure decision over both, and all wallets of both.

The source ends: its identifiers, points (each lot with its times), debt and pending points are the
target's from then on. Its entries, activities and closed holds stay where they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.earning import ledger_transfers
from services.earning.commands_members import ClaimCard, MergeMembers
from services.earning.decisions import Changes
from services.earning.domain import Lot, Wallet
from services.earning.events import MemberChanged
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause, Movement
from services.earning.member_records import (
    CARD,
    MEMBER_ID,
    MemberIdentifier,
    MemberRecord,
    MemberState,
)
from services.earning.members import changed, check_active, frozen_as, named, with_identifiers
from services.earning.refusals import HoldsOpen, IdentifierTaken, SameMember
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event
from shared.values import value

MERGED = "members merged"
"""Reason of the entries that a merge makes."""


@value
class Purses:
    """The wallets of one currency of both members, with their lots."""

    source: Wallet
    source_lots: Mapping[int, Lot]
    target: Wallet
    target_lots: Mapping[int, Lot]
    policy: CurrencyPolicy


def claim(
    command: ClaimCard,
    target: MemberRecord,
    owner: MemberRecord | None,
    purses: Sequence[Purses],
    now: datetime,
    *,
    is_free: bool,
) -> Decision[Changes, MemberRecord]:
    """Give a member a card: a free one is added, an anonymous `owner` of it is merged.

    Refuses IdentifierTaken, and what a merge refuses.
    """
    if command.card_id in target.names:
        return Decision(state=Changes(), answer=target)
    if is_free:
        added = named(target, CARD, command.card_id, now)
        return changed(target, replace(added, is_anonymous=False))
    if owner is None or not owner.is_anonymous:
        raise IdentifierTaken(identifier=command.card_id)
    return _merged(command, target, owner, purses, now)


def merge(
    command: MergeMembers,
    target: MemberRecord,
    source: MemberRecord,
    purses: Sequence[Purses],
    now: datetime,
) -> Decision[Changes, MemberRecord]:
    """Let `source` end in `target`.

    Refuses SameMember, MemberFrozen, HoldsOpen, TooManyIdentifiers, PointsOutOfRange.
    """
    if source.member_key == target.member_key:
        raise SameMember(member_id=command.source_member_id)
    return _merged(command, target, source, purses, now)


def _merged(
    command: ClaimCard | MergeMembers,
    target: MemberRecord,
    source: MemberRecord,
    purses: Sequence[Purses],
    now: datetime,
) -> Decision[Changes, MemberRecord]:
    check_active(source, source.member_id)
    check_active(target, target.member_id)
    if held := sum([each.source.held for each in purses]):
        raise HoldsOpen(points_held=held)
    moving = [
        _renamed(each, now, is_card=isinstance(command, ClaimCard)) for each in source.identifiers
    ]
    stays = with_identifiers(replace(target, is_anonymous=False), moving)
    ends = replace(source, identifiers=(), state=MemberState.MERGED, merged_into=target.member_key)
    cause = Cause(now=now, occurred_time=now, reference=command.request_id, reason=MERGED)
    movements: list[Movement] = []
    wallets: list[Wallet] = []
    events: list[Event] = []
    for each in purses:
        moved, after, told = _handed_over(each, cause)
        movements += moved
        events += told
        wallets += [*frozen_as([after[0]], MemberState.MERGED), after[1]]
    ended = replace(ends, version=source.version + 1)
    stayed = replace(stays, version=target.version + 1)
    return Decision(
        state=Changes(members=(ended, stayed), movements=tuple(movements), wallets=tuple(wallets)),
        answer=stayed,
        events=(*events, MemberChanged(member=ended), MemberChanged(member=stayed)),
    )


def _renamed(identifier: MemberIdentifier, now: datetime, *, is_card: bool) -> MemberIdentifier:
    """The identifier as the target has it: what a card was enrolled by is a card."""
    kind = CARD if is_card and identifier.kind == MEMBER_ID else identifier.kind
    return replace(identifier, kind=kind, assign_time=now)


def _handed_over(
    purses: Purses, cause: Cause
) -> tuple[list[Movement], tuple[Wallet, Wallet], list[Event]]:
    """Movements, both wallets after them, and what the clock had made due before."""
    giving, told = settled(purses.source, purses.source_lots, purses.policy, cause.now)
    taking, heard = settled(purses.target, purses.target_lots, purses.policy, cause.now)
    events = [*told, *clock_events(giving), *heard, *clock_events(taking)]
    movements = [*giving.movements, *taking.movements]
    moved = ledger_transfers.hand_over(
        giving.wallet, giving.lots, taking.wallet, taking.lots, cause, purses.policy
    )
    source, target = giving.wallet, taking.wallet
    for each in moved:
        if each.wallet.member_key == source.member_key:
            source = each.wallet
        else:
            target = each.wallet
    return [*movements, *moved], (source, target), events


def handed_on(
    decided: Decision[Changes, object], purses: Purses, now: datetime
) -> Decision[Changes, object]:
    """A decision about a wallet that was merged, with what it brings handed on to the target.

    `purses` are the wallets before the decision; a refund to lots of the source is then a transfer.
    """
    source, lots = purses.source, dict(purses.source_lots)
    for each in decided.state.movements:
        source = each.wallet
        lots |= {lot.lot_sequence: lot for lot in each.changed}
        if each.made is not None:
            lots[each.made.lot_sequence] = each.made
    cause = Cause(now=now, occurred_time=now, reason=MERGED)
    moved, after, told = _handed_over(replace(purses, source=source, source_lots=lots), cause)
    state = replace(
        decided.state,
        movements=(*decided.state.movements, *moved),
        wallets=(*decided.state.wallets, *after),
    )
    return replace(decided, state=state, events=(*decided.events, *told))
