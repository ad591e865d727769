"""Points go from one member to another: a pure decision over both wallets."""

from datetime import datetime

from services.earning import ledger_transfers
from services.earning.commands_points import TransferPoints
from services.earning.decisions import Changes, Lots
from services.earning.domain import Wallet
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.points_records import PointsTransferred, Transferred, TransferredLot
from services.earning.refusals import CurrencyNotSpendable, InsufficientPoints
from services.earning.settlement import clock_events, settled
from shared.decision import Decision


def transfer(
    command: TransferPoints,
    source: tuple[Wallet, Lots],
    target: tuple[Wallet, Lots],
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Transferred]:
    """Move points lot by lot; each keeps its end. Both wallets come with their lots.

    Refuses CurrencyNotSpendable, InsufficientPoints or PointsOutOfRange.
    """
    if not policy.spendable:
        raise CurrencyNotSpendable(currency_id=source[0].currency_id)
    giving, told = settled(*source, policy, now)
    taking, heard = settled(*target, policy, now)
    available = giving.wallet.available
    if command.points > available:
        raise InsufficientPoints(points_needed=command.points, points_available=available)
    cause = Cause(now=now, occurred_time=now, reference=command.request_id, reason=command.reason)
    moved = ledger_transfers.transfer(
        giving.wallet, giving.lots, taking.wallet, command.points, cause, policy
    )
    pairs = [(out.entry, into.entry) for out, into in zip(moved[::2], moved[1::2], strict=True)]
    answer = Transferred(
        currency_id=giving.wallet.currency_id,
        points=command.points,
        create_time=now,
        lots=tuple(
            TransferredLot(
                points=out.program_delta,
                expire_time=into.lot_expire_time,
                from_sequence=out.sequence,
                to_sequence=into.sequence,
            )
            for out, into in pairs
        ),
    )
    return Decision(
        state=Changes(movements=(*giving.movements, *taking.movements, *moved)),
        answer=answer,
        events=(
            *told,
            *clock_events(giving),
            *heard,
            *clock_events(taking),
            _told_of(command, giving.wallet, taking.wallet, -command.points),
            _told_of(command, taking.wallet, giving.wallet, command.points),
        ),
    )


def _told_of(
    command: TransferPoints, wallet: Wallet, other: Wallet, points: int
) -> PointsTransferred:
    return PointsTransferred(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=points,
        other_member_key=other.member_key,
        reason=command.reason,
        request_id=command.request_id,
    )
