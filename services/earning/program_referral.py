"""Referrals in the program document: what is wrong with their policy, and what it means."""

from collections.abc import Iterator

from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import program_pb2 as pb
from services.earning import conditions
from services.earning.domain import CurrencyId
from services.earning.program_currencies import unknown
from services.earning.program_rules import ACTIVITY, wrong_expression
from services.earning.rules import ReferralPolicy
from shared.errors import Violation


def complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    """What is wrong with the referral policy of a document."""
    if not document.HasField("referral"):
        return
    referral = document.referral
    yield from unknown(document, "referral.currency_id", referral.currency_id)
    if not referral.referrer_points and not referral.friend_points:
        yield Violation(
            field="referral.referrer_points",
            description="nobody would be rewarded; set referrer_points or friend_points",
        )
    yield from wrong_expression("referral.condition", ACTIVITY, referral.condition)
    for variable in ("member", "tier"):
        if conditions.mentions(referral.condition, variable):
            yield Violation(
                field="referral.condition",
                description=f"is asked about the activity alone; it cannot read {variable}",
            )


def policy(document: pb.EarningProgram) -> ReferralPolicy:
    """The referral policy of a document that has one."""
    referral = document.referral
    condition = None
    if referral.condition:
        compiled = ACTIVITY.compile(referral.condition)
        condition = conditions.on_activity(compiled, ACTIVITY, activity_pb2.Activity.DESCRIPTOR)
    return ReferralPolicy(
        currency_id=CurrencyId(referral.currency_id or document.currencies[0].currency_id),
        referrer_points=referral.referrer_points,
        friend_points=referral.friend_points,
        activity_types=frozenset(referral.activity_types),
        condition=condition,
        max_per_referrer=referral.max_per_referrer,
    )
