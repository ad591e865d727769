"""Each command of earning is a rule of a model that tells stories, or is listed here with a reason.

A command that is added without either fails here, by its name.
"""

from collections.abc import Callable

import pytest

from services.earning.deciding import DECIDERS
from tests.earning.test_ledger_model import Ledger
from tests.earning.test_ledger_model_currencies import TwoCurrencies
from tests.earning.test_ledger_model_households import Households
from tests.earning.test_ledger_model_members import Members
from tests.earning.test_ledger_model_merging import MergedInTime
from tests.earning.test_ledger_model_time import DatedLedger

RULES: dict[str, tuple[Callable[..., object], ...]] = {
    "EnrollMember": (Ledger.__init__, MergedInTime.__init__),
    "RecordActivity": (Ledger.record, DatedLedger.buy, Members.buy, MergedInTime.buy),
    "ReverseActivity": (
        Ledger.reverse_lines,
        DatedLedger.give_back,
        Members.give_back,
        MergedInTime.give_back,
    ),
    "CreditPoints": (Ledger.credit, DatedLedger.credit, Members.credit, MergedInTime.credit),
    "HoldPoints": (Ledger.hold, DatedLedger.hold, Members.hold, Households.hold),
    "CaptureHold": (Ledger.capture, DatedLedger.capture, Members.end_hold, Households.end_hold),
    "VoidHold": (Ledger.void, DatedLedger.void, Members.end_hold, Households.end_hold),
    "RefundCapture": (Ledger.refund, DatedLedger.refund, Members.refund, Households.refund),
    "ExpireHold": (Ledger.time_goes_by, DatedLedger.time_goes_by, Households.time_goes_by),
    "ConfirmActivity": (DatedLedger.confirm, MergedInTime.confirm),
    "SettleWallet": (DatedLedger.time_goes_by, MergedInTime.time_goes_by),
    "TransferPoints": (Ledger.give, DatedLedger.give, Members.give, MergedInTime.give),
    "ConvertPoints": (TwoCurrencies.convert,),
    "AdjustPoints": (Ledger.adjust, DatedLedger.adjust, Members.adjust),
    "ApproveAdjustment": (Members.decide,),
    "RejectAdjustment": (Members.decide,),
    "ExtendPoints": (DatedLedger.extend, TwoCurrencies.extend),
    "ReinstatePoints": (DatedLedger.reinstate, TwoCurrencies.reinstate),
    "MergeMembers": (Members.merge, MergedInTime.merge, Households.merge, TwoCurrencies.merge),
    "ClaimCard": (Members.claim_card, MergedInTime.claim_card),
    "FreezeMember": (Members.freeze_or_unfreeze,),
    "UnfreezeMember": (Members.freeze_or_unfreeze,),
    "MakeReferralCode": (Members.claim_referral,),
    "ClaimReferral": (Members.claim_referral,),
    "CreateHousehold": (Households.found_household,),
    "InviteMember": (Households.join,),
    "AcceptInvitation": (Households.join,),
    "LeaveHousehold": (Households.leave,),
}
NO_MODEL: dict[str, str] = {
    "KeepLevel": "heard of another service; it changes what rules see and no wallet",
    "UpdateMember": "a profile has no points; races and tables are in test_members*.py",
    "AddIdentifier": "a name has no points; races and tables are in test_members*.py",
    "RemoveIdentifier": "a name has no points; races and tables are in test_members*.py",
    "EraseMember": "the books stay as they are; test_members_erasure.py compares them",
    "RemoveMember": "books nothing; test_households_pure.py has the states",
    "DissolveHousehold": "books nothing; test_households_pure.py has the states",
}


ALL = sorted(each.__name__ for each in DECIDERS)


@pytest.mark.parametrize("command", ALL)
def test_a_command_is_a_rule_of_a_model_or_says_why_not(command: str) -> None:
    assert (command in RULES) != (command in NO_MODEL)


def test_nothing_is_listed_that_is_no_command() -> None:
    assert set(RULES) | set(NO_MODEL) == set(ALL)


@pytest.mark.parametrize("command", sorted(RULES))
def test_what_is_listed_as_a_rule_is_one(command: str) -> None:
    for each in RULES[command]:
        is_rule = hasattr(each, "hypothesis_stateful_rule")
        assert is_rule or each.__name__ == "__init__", each
