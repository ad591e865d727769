"""What becomes of members: pure decisions over their records.

Every change makes a new version and is told whole (`MemberChanged`); asking for what is so already
changes nothing and tells nothing.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from services.earning.commands import EnrollMember
from services.earning.commands_members import (
    AddIdentifier,
    EraseMember,
    FreezeMember,
    RemoveIdentifier,
    UnfreezeMember,
    UpdateMember,
)
from services.earning.decisions import Changes, enrolled
from services.earning.domain import Member, MemberId, Wallet
from services.earning.events import MemberChanged
from services.earning.member_records import (
    FROZEN_OF,
    IDENTIFIERS_MAX,
    NO_PROFILE,
    MemberIdentifier,
    MemberRecord,
    MemberState,
    Profile,
    in_order,
    newcomer,
)
from services.earning.refusals import (
    IdentifierNotFound,
    IdentifierTaken,
    LastIdentifier,
    MemberFrozen,
    TooManyIdentifiers,
)
from shared import errors
from shared.decision import Decision


def enroll(command: EnrollMember, member: Member) -> Decision[Changes, MemberRecord]:
    """Enrol `member`, under the identifier that the command names and nobody has."""
    record = replace(newcomer(member), is_anonymous=False, profile=command.profile)
    return Decision(
        state=Changes(member=member, members=(record,)), answer=record, events=(enrolled(member),)
    )


def update(command: UpdateMember, before: MemberRecord) -> Decision[Changes, MemberRecord]:
    """Change what is told of a member. Refuses EtagMismatch.

    Neither identifiers nor state change, so nothing is published: events carry no personal data.
    """
    if command.etag and command.etag != before.etag:
        raise errors.EtagMismatch(expected=command.etag, actual=before.etag)
    told = command.profile
    profile = Profile(
        birth_date=told.birth_date if "birth_date" in command.fields else before.profile.birth_date,
        time_zone=told.time_zone if "time_zone" in command.fields else before.profile.time_zone,
        language=told.language if "language" in command.fields else before.profile.language,
        attributes=told.attributes if "attributes" in command.fields else before.profile.attributes,
        segments=told.segments if "segments" in command.fields else before.profile.segments,
    )
    return changed(before, replace(before, profile=profile, is_anonymous=False))


# Identifiers -------------------------------------------------------------------------------------


def add_identifier(
    command: AddIdentifier, before: MemberRecord, now: datetime, *, is_free: bool
) -> Decision[Changes, MemberRecord]:
    """Give one more identifier. Refuses IdentifierTaken, TooManyIdentifiers."""
    if command.identifier in before.names:
        return Decision(state=Changes(), answer=before)
    if not is_free:
        raise IdentifierTaken(identifier=command.identifier)
    added = named(before, command.kind, command.identifier, now)
    return changed(before, replace(added, is_anonymous=False))


def named(member: MemberRecord, kind: str, identifier: MemberId, now: datetime) -> MemberRecord:
    """The member with one more identifier. Refuses TooManyIdentifiers."""
    return with_identifiers(
        member, [MemberIdentifier(kind=kind, identifier=identifier, assign_time=now)]
    )


def with_identifiers(member: MemberRecord, more: Iterable[MemberIdentifier]) -> MemberRecord:
    """The member with further identifiers. Refuses TooManyIdentifiers."""
    identifiers = in_order((*member.identifiers, *more))
    if len(identifiers) > IDENTIFIERS_MAX:
        raise TooManyIdentifiers(limit=IDENTIFIERS_MAX)
    return replace(member, identifiers=identifiers)


def remove_identifier(
    command: RemoveIdentifier, before: MemberRecord
) -> Decision[Changes, MemberRecord]:
    """Take an identifier away. Refuses IdentifierNotFound, LastIdentifier."""
    if command.identifier not in before.names:
        raise IdentifierNotFound(identifier=command.identifier)
    left = tuple(each for each in before.identifiers if each.identifier != command.identifier)
    if not left:
        raise LastIdentifier(identifier=command.identifier)
    return changed(before, replace(before, identifiers=left))


# States ------------------------------------------------------------------------------------------


def check_active(member: MemberRecord, name: str) -> None:
    """Refuse MemberFrozen."""
    if member.state is MemberState.FROZEN:
        raise MemberFrozen(member_id=name)


def freeze(
    command: FreezeMember | UnfreezeMember, before: MemberRecord, wallets: Iterable[Wallet]
) -> Decision[Changes, MemberRecord]:
    """Freeze or unfreeze a member, and every wallet with it."""
    freezes = isinstance(command, FreezeMember)
    return _entered(before, MemberState.FROZEN if freezes else MemberState.ACTIVE, wallets)


def erase(
    command: EraseMember, before: MemberRecord, wallets: Iterable[Wallet]
) -> Decision[Changes, MemberRecord]:
    """Leave nothing of a member but the key; what was copied elsewhere is blanked by a job."""
    del command
    blank = replace(before, identifiers=(), profile=NO_PROFILE)
    return _entered(blank, MemberState.ERASED, wallets)


def frozen_as(wallets: Iterable[Wallet], state: MemberState) -> tuple[Wallet, ...]:
    """Wallets of a member in a state."""
    return tuple(replace(each, frozen=FROZEN_OF[state]) for each in wallets)


def _entered(
    before: MemberRecord, state: MemberState, wallets: Iterable[Wallet]
) -> Decision[Changes, MemberRecord]:
    if before.state is state:
        return Decision(state=Changes(), answer=before)
    decided = changed(before, replace(before, state=state))
    return replace(decided, state=replace(decided.state, wallets=frozen_as(wallets, state)))


def changed(before: MemberRecord, after: MemberRecord) -> Decision[Changes, MemberRecord]:
    """A change of one member, told if others have to know."""
    made = replace(after, version=before.version + 1)
    is_public = (before.identifiers, before.state) != (after.identifiers, after.state)
    return Decision(
        state=Changes(members=(made,)),
        answer=made,
        events=(MemberChanged(member=made),) if is_public else (),
    )
