"""A member's points of one currency become points of another: a pure decision over both wallets."""

from collections.abc import Mapping
from datetime import datetime

from services.earning import ledger_transfers
from services.earning.commands_points import ConvertPoints
from services.earning.decisions import Changes, Lots
from services.earning.domain import CurrencyId, Wallet
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.points_records import Conversion, Converted, PointsConverted
from services.earning.refusals import InsufficientPoints
from services.earning.refusals_points import BelowConversionMinimum, ConversionNotWhole
from services.earning.settlement import clock_events, settled
from shared.decision import Decision


def convert(
    command: ConvertPoints,
    rate: Conversion,
    source: tuple[Wallet, Lots],
    target: tuple[Wallet, Lots],
    policies: Mapping[CurrencyId, CurrencyPolicy],
    now: datetime,
) -> Decision[Changes, Converted]:
    """Take points of the one wallet, and give what they come to at the rate in the other.

    Both wallets come with their lots. No part of a point is lost: what does not come out whole is
    refused. Refuses BelowConversionMinimum, ConversionNotWhole, InsufficientPoints or
    PointsOutOfRange.
    """
    if command.points < rate.points_min:
        raise BelowConversionMinimum(points=command.points, points_min=rate.points_min)
    if command.points % rate.points_multiple:
        raise ConversionNotWhole(points=command.points, points_multiple=rate.points_multiple)
    giving, told = settled(*source, policies[command.from_currency_id], now)
    taking, heard = settled(*target, policies[command.to_currency_id], now)
    available = giving.wallet.available
    if command.points > available:
        raise InsufficientPoints(points_needed=command.points, points_available=available)
    cause = Cause(now=now, occurred_time=now, reference=command.request_id, reason=command.reason)
    left, came = ledger_transfers.convert(
        giving.wallet, giving.lots, taking.wallet, command.points, rate, cause, policies
    )
    answer = Converted(
        from_currency_id=command.from_currency_id,
        to_currency_id=command.to_currency_id,
        taken=command.points,
        given=-came.entry.program_delta,
        repaid=came.entry.debt_delta,
        numerator=rate.numerator,
        denominator=rate.denominator,
        create_time=now,
        expire_time=came.entry.lot_expire_time,
        from_sequence=left.entry.sequence,
        to_sequence=came.entry.sequence,
    )
    event = PointsConverted(
        program_id=left.entry.program_id,
        member_key=left.entry.member_key,
        from_currency_id=answer.from_currency_id,
        to_currency_id=answer.to_currency_id,
        taken=answer.taken,
        given=answer.given,
        reason=command.reason,
        request_id=command.request_id,
    )
    return Decision(
        state=Changes(movements=(*giving.movements, *taking.movements, left, came)),
        answer=answer,
        events=(*told, *clock_events(giving), *heard, *clock_events(taking), event),
    )
