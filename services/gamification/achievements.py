"""Use cases of challenges and badges: what there is, how far a member is, what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guerdon.gamification.v1 import program_pb2 as program_pb
from services.gamification import challenges, query_store, store
from services.gamification.document import Program, objective_of
from services.gamification.documents import Documents
from services.gamification.domain import BadgeId, ChallengeId, MemberId, ProgramId, Progress
from services.gamification.query_store import HeldBadge, Summary
from shared import errors, paging
from shared.database import Database, Tx
from shared.followers import Follower, wait_for_token

PAGE_SIZE, PAGE_SIZE_MAX = 50, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeProgress:
    """How far a member is with a challenge: `value` of `target`."""

    challenge: program_pb.Challenge
    progress: Progress
    value: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengePage:
    """Some challenges of a document, and the token of the next page."""

    challenges: Sequence[program_pb.Challenge]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadgePage:
    """Some badges of a member, the words of the document in force, the token of the next page."""

    badges: Sequence[HeldBadge]
    words: Mapping[BadgeId, program_pb.Badge]
    next_page_token: str = ""


class Achievements:
    """Everything that callers ask of challenges and badges."""

    def __init__(
        self, database: Database, documents: Documents, followers: Mapping[str, Follower]
    ) -> None:
        self._database = database
        self._documents = documents
        self._followers = followers

    async def list_challenges(
        self, program_id: str, *, page_size: int, page_token: str
    ) -> ChallengePage:
        """Challenges in the order of the document. Refuses ProgramNotFound, InvalidPageToken."""
        program = await self._documents.in_force(program_id)
        query = paging.digest_of("ListChallenges", program_id, program.version)
        start = paging.offset(page_token, query)
        end = start + paging.page_size(page_size, PAGE_SIZE, PAGE_SIZE_MAX)
        found = program.document.challenges
        return ChallengePage(
            challenges=found[start:end],
            next_page_token=paging.encode(query, (end,)) if end < len(found) else "",
        )

    async def progress(
        self, program_id: str, member_id: str, *, wait_for: str
    ) -> list[ChallengeProgress]:
        """Progress with every challenge of the document in force.

        Refuses ProgramNotFound, NotReady, MemberNotFound.
        """
        program = await self._document(program_id, wait_for)
        async with self._database.reading() as tx:
            (member,) = await _members(tx, program, [member_id])
            if isinstance(member, errors.Refusal):
                raise member
            held = await query_store.progress_of_member(tx, member)
        return [
            _progress(challenge, held.get(ChallengeId(challenge.challenge_id), Progress()))
            for challenge in program.document.challenges
        ]

    async def badges(
        self, program_id: str, member_id: str, *, page_size: int, page_token: str, wait_for: str
    ) -> BadgePage:
        """Badges of a member, oldest first.

        Refuses ProgramNotFound, InvalidPageToken, NotReady, MemberNotFound.
        """
        query = paging.digest_of("ListMemberBadges", program_id, member_id)
        start = paging.offset(page_token, query)
        program = await self._document(program_id, wait_for)
        async with self._database.reading() as tx:
            (member,) = await _members(tx, program, [member_id])
            if isinstance(member, errors.Refusal):
                raise member
            found = (await query_store.badges_of_members(tx, [member])).get(member, [])
        end = start + paging.page_size(page_size, PAGE_SIZE, PAGE_SIZE_MAX)
        return BadgePage(
            badges=found[start:end],
            words=program.badges,
            next_page_token=paging.encode(query, (end,)) if end < len(found) else "",
        )

    async def badges_of_many(
        self, program_id: str, member_ids: Sequence[str], *, wait_for: str
    ) -> list[BadgePage | errors.Refusal]:
        """Badges of each member, or why there are none. Refuses ProgramNotFound, NotReady."""
        program = await self._document(program_id, wait_for)
        async with self._database.reading() as tx:
            members = await _members(tx, program, member_ids)
            known = {each for each in members if not isinstance(each, errors.Refusal)}
            found = await query_store.badges_of_members(tx, known)
        return [
            each
            if isinstance(each, errors.Refusal)
            else BadgePage(badges=found.get(each, ()), words=program.badges)
            for each in members
        ]

    async def summary(self, program_id: str) -> tuple[Program, Summary]:
        """Counts of a program. Refuses ProgramNotFound."""
        program = await self._documents.in_force(program_id)
        async with self._database.reading() as tx:
            return program, await query_store.summary(tx, program_id)

    async def _document(self, program_id: str, wait_for: str) -> Program:
        program = await self._documents.in_force(program_id)
        await wait_for_token(self._followers, wait_for, own="gamification")
        return program


async def _members(
    tx: Tx, program: Program, member_ids: Sequence[str]
) -> list[store.MemberPlace | errors.MemberNotFound]:
    """Members by their identifiers, in order."""
    program_id = ProgramId(program.program_id)
    keys = await store.find_members(tx, {(program_id, MemberId(each)) for each in member_ids})
    return [
        (program_id, keys[program_id, MemberId(each)])
        if (program_id, MemberId(each)) in keys
        else errors.MemberNotFound(member_id=each)
        for each in member_ids
    ]


def _progress(challenge: program_pb.Challenge, progress: Progress) -> ChallengeProgress:
    objective = objective_of(challenge)
    return ChallengeProgress(
        challenge=challenge,
        progress=progress,
        value=challenges.reached(progress, objective),
        target=objective.target,
    )
