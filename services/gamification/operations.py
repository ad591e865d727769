"""What a batch of commands does: which members it locks, who decides, what is written.

Everything that is decided is decided by the pure modules; this one fetches and puts away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from guerdon.earning.v1.activity_pb2 import Activity
from services.gamification import boards, challenges, store, wire
from services.gamification.commands import Command, SubmitScores
from services.gamification.document import Board, Program
from services.gamification.domain import (
    BadgeAwarded,
    ChallengeId,
    CountActivity,
    Deed,
    EnrollMember,
    LeaderboardNotFound,
    MemberId,
    MemberKey,
    Player,
    ProgramId,
    Progress,
    Score,
    ScoresNotAccepted,
    SettleReward,
    SubmittedScores,
)
from services.gamification.index import Place
from shared import errors
from shared.batches import FeedRecord, Run
from shared.database import Tx
from shared.decision import Decision, Event
from shared.ids import partition_of
from shared.names import NameMember
from shared.programs import Programs, Versioned


class MemberMissingError(LookupError):
    """An activity of a member came whose enrolment has not: the feed is out of order."""


@dataclass(slots=True, kw_only=True)
class World:
    """What a batch is decided over.

    `before` holds the players as they were loaded; `deeds` what each activity means under the
    version in force, by the identity of its command.
    """

    programs: Mapping[str, Versioned[Program]]
    members: Mapping[store.Identifier, MemberKey]
    players: dict[store.MemberPlace, Player]
    deeds: Mapping[int, Deed]
    before: Mapping[store.MemberPlace, Player] = field(default_factory=dict)

    def put(self, state: Player | tuple[Player, ...]) -> None:
        """Take over what a decision has changed."""
        for player in (state,) if isinstance(state, Player) else state:
            self.players[player.program_id, player.member_key] = player

    def player(self, command: EnrollMember | CountActivity | SettleReward | NameMember) -> Player:
        """Who the command is about. Raises MemberMissingError."""
        place = (command.program_id, command.member_key)
        if place not in self.players:
            raise MemberMissingError(f"{command.program_id}/{command.member_key} is not enrolled")
        return self.players[place]

    def board(self, command: SubmitScores) -> Board:
        """Board that scores are submitted to.

        Refuses ProgramNotFound, LeaderboardNotFound, ScoresNotAccepted.
        """
        found = self.programs.get(command.program_id)
        if found is None:
            raise errors.ProgramNotFound(program_id=command.program_id)
        board = found.program.boards.get(command.board_id)
        if board is None:
            raise LeaderboardNotFound(board_id=command.board_id)
        if board.rules.aggregation is None:
            raise ScoresNotAccepted(board_id=command.board_id)
        return board


class Gamification:
    """The work of this service, for `shared.batches.Executor`.

    `touched` is told which boards a transaction is about to change, before it commits.
    """

    def __init__(
        self,
        programs: Programs[Program],
        *,
        partitions: int,
        touched: Callable[[frozenset[Place]], None],
    ) -> None:
        self._programs = programs
        self._partitions = partitions
        self._touched = touched

    async def load(self, tx: Tx, commands: Sequence[Command], now: datetime) -> World:
        """Lock the members that are named, in the order of their keys, and load what is needed."""
        await store.add_members(tx, [each for each in commands if isinstance(each, EnrollMember)])
        programs = await self._programs.current(tx, [each.program_id for each in commands], now)
        submitted = [each for each in commands if isinstance(each, SubmitScores)]
        named = {
            (each.program_id, submission.member_id)
            for each in submitted
            for submission in each.submissions
        }
        members = await store.find_members(tx, named)
        deeds = _deeds(commands, programs)
        world = World(programs=programs, members=members, players={}, deeds=deeds)
        wanted = {(program_id, key) for (program_id, _), key in members.items()}
        wanted |= {
            (ProgramId(each.program_id), MemberKey(each.member_key))
            for each in commands
            if not isinstance(each, SubmitScores)
        }
        locked = await store.lock_members(tx, wanted)
        progress = await store.load_progress(tx, _progress_places(commands, deeds))
        badges = await store.load_badges(tx, {place[:2] for place in _started(commands, deeds)})
        scores = await store.load_scores(tx, _score_places(commands, world))
        for place in locked:
            world.players[place] = Player(
                program_id=place[0],
                member_key=place[1],
                progress=progress.get(place, {}),
                badges=badges.get(place, frozenset()),
                scores=scores.get(place, {}),
            )
        world.before = dict(world.players)
        return world

    def decide(self, world: World, command: Command, now: datetime) -> Decision[object, object]:
        """Decide one command; see the pure modules for what they refuse."""
        del now
        match command:
            case EnrollMember() | NameMember():
                return Decision(state=world.player(command), answer=None)
            case CountActivity():
                player = world.player(command)
                deed = world.deeds.get(id(command))
                if deed is None:
                    return Decision(state=player, answer=None)
                counted = boards.count_gains(player, deed.gains, deed.occurred_time)
                return challenges.count_activity(counted, deed)
            case SettleReward():
                return challenges.settle_reward(world.player(command), command)
            case SubmitScores():
                rules = world.board(command).rules
                players = _named_players(world, command)
                return boards.submit_scores(players, command.submissions, rules)
            case _:
                assert_never(command)

    async def save(self, tx: Tx, world: World, run: Run[Command]) -> None:
        """Write what differs from what was loaded; the heads of boards last."""
        progress: dict[store.ProgressPlace, Progress] = {}
        scores: dict[store.ScorePlace, Score] = {}
        for place, player in world.players.items():
            old = world.before[place]
            if player is old:
                continue
            for challenge_id, held in player.progress.items():
                if old.progress.get(challenge_id) != held:
                    progress[*place, challenge_id] = held
            for board, score in player.scores.items():
                if old.scores.get(board) != score:
                    scores[*place, *board] = score
        renamed = [each for each, _ in run.decided if isinstance(each, NameMember)]
        await store.rename_members(tx, renamed)
        await store.save_progress(tx, progress)
        await store.save_badges(tx, [each for each in run.events if isinstance(each, BadgeAwarded)])
        partitions = {place[1]: partition_of(place[1], self._partitions) for place in scores}
        self._touched(await store.save_scores(tx, scores, partitions))

    def answer_type(self, command: Command) -> type[object]:
        """Type of a stored answer."""
        return SubmittedScores if isinstance(command, SubmitScores) else type(None)

    def event_to_feed(self, event: Event) -> FeedRecord:
        """Event as others will read it."""
        return wire.event_to_feed(event)


def _deeds(
    commands: Sequence[Command], programs: Mapping[str, Versioned[Program]]
) -> dict[int, Deed]:
    """What each activity means under the version in force; without a document it means nothing."""
    deeds: dict[int, Deed] = {}
    for command in commands:
        if isinstance(command, CountActivity) and command.program_id in programs:
            deeds[id(command)] = deed_of(programs[command.program_id].program, command)
    return deeds


def deed_of(program: Program, command: CountActivity) -> Deed:
    """What an activity means under a version of the document."""
    if not isinstance(command.activity, Activity):
        raise TypeError(f"an activity is not a {type(command.activity).__name__}")
    return program.deed(
        command.activity,
        points=command.points,
        occurred_time=command.occurred_time,
        decide_time=command.decide_time,
    )


def _started(
    commands: Sequence[Command], deeds: Mapping[int, Deed]
) -> set[tuple[ProgramId, MemberKey, ChallengeId]]:
    return {
        (each.program_id, each.member_key, contribution.challenge_id)
        for each in commands
        if isinstance(each, CountActivity) and id(each) in deeds
        for contribution in deeds[id(each)].contributions
    }


def _progress_places(
    commands: Sequence[Command], deeds: Mapping[int, Deed]
) -> set[store.ProgressPlace]:
    settled = {
        (each.program_id, each.member_key, each.challenge_id)
        for each in commands
        if isinstance(each, SettleReward)
    }
    return settled | _started(commands, deeds)


def _score_places(commands: Sequence[Command], world: World) -> set[store.ScorePlace]:
    """Scores that the commands may change: of their boards, in their periods."""
    places: set[store.ScorePlace] = set()
    for each in commands:
        if isinstance(each, CountActivity) and id(each) in world.deeds:
            for gain in world.deeds[id(each)].gains:
                places.add((each.program_id, each.member_key, gain.board_id, gain.period))
        if isinstance(each, SubmitScores):
            program = world.programs.get(each.program_id)
            board = None if program is None else program.program.boards.get(each.board_id)
            if board is None:
                continue
            for submission in each.submissions:
                key = world.members.get((each.program_id, submission.member_id))
                if key is not None and not submission.violations:
                    period = board.rules.period_of(submission.occurred_time)
                    places.add((each.program_id, key, each.board_id, period))
    return places


def _named_players(world: World, command: SubmitScores) -> dict[MemberId, Player]:
    """Members that the submissions name, as far as they are known."""
    found: dict[MemberId, Player] = {}
    for submission in command.submissions:
        key = world.members.get((command.program_id, submission.member_id))
        player = None if key is None else world.players.get((command.program_id, key))
        if player is not None:
            found[submission.member_id] = player
    return found
