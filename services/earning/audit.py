"""Recomputes a wallet and an activity from what was written down, and says what does not agree.

Pure: `auditing.py` reads the rows; wallets are in `audit_wallets.py`, what activities earned in
`audit_activities.py`, what was returned of them here.
The rules that are named in violations:

- entry_type: the type and the account of an entry are among those that there are
- entry_sequence: the entries of a wallet are numbered 1, 2, 3 …
- entry_zero_sum: the changes of an entry, the program's account included, sum to zero
- entry_account: each type of entry moves points against its own account of the program
- entry_lots: what an entry made, used and gave back of lots is the change of what is available and
  of what is pending, each with the entry that tells its times
- entry_lots_time: nothing is used of a lot that has ended, and nothing ends, or becomes available,
  before its time
- entry_balance: after no entry is anything below zero, and `available_after` is what was left
- entry_chain: each entry is hashed over the one before
- wallet_equals_entries: a wallet is the sum of its entries, and has the hash of the last one
- wallet_next_time: the clock looks at a wallet before a lot of it becomes available or ends
- lots_equal_entries: lots, their times and what remains of them are what the entries made of them
- holds_equal_entries: open holds are what is held; captures and refunds are what was booked, of the
  lots that they took and for the household that the entries name
- household_holds: a hold of a household is what it has of its members, each of which equals entries
- household_members: a household has a head among its members, who are there, until none is left
- adjustments_equal_entries: booked adjustments are what was booked, by whom, and nothing else is
- referral_entries: a referral has exactly the entries that it gave and took back, of an activity
  that is returned as far as they are, and no others are there
- conversions_agree: both entries of a conversion name each other and the rate at which the points
  of the one came out whole as those of the other
- transfers_zero_sum: what left wallets for others is what came to others
- activity_entry: the points of an activity are booked once, under its name, with its explanation
- activity_lines: the shares of the lines are those explained, and add up to the points
- activity_reversals: what was returned is the sum of the reversals, rounded down in total
- activity_paid: an activity and the hold that paid for it name each other, and returns gave back
  what they come to
- waiting_reversals: what came before its activity waits, is applied or rejected as it would have
  been right after it, and is what was booked
- activity_recomputed: the rules of the version that decided give the same points again
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.earning.domain import ActivityRecord, Reversal, ReversalWay

DETAIL_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What does not hold, where, and what was expected and found."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is, and what was found since the last one."""

    stage: str
    done: int
    total: int
    violations: tuple[Violation, ...] = ()


def audit_returns(record: ActivityRecord, reversals: Sequence[Reversal]) -> list[Violation]:
    """What does not agree between what an activity says was returned and its reversals."""
    expected, found = _returned(record, reversals)
    if expected == found:
        return []
    return [
        Violation(
            rule="activity_reversals",
            subject=f"{record.program_id}/{record.activity_id}",
            detail=f"expected {expected}, found {found}"[:DETAIL_MAX],
        )
    ]


def _returned(record: ActivityRecord, reversals: Sequence[Reversal]) -> tuple[object, object]:
    """Sums of the reversals, the totals that follow from units, and what is stored of them."""
    units: dict[int, list[int]] = {}
    for reversal in reversals:
        for line in reversal.lines:
            sums = units.setdefault(line.line_number, [0, 0, 0])
            for at, part in enumerate((line.quantity, line.amount, line.points)):
                sums[at] += part
    expected = (
        sum(reversal.points for reversal in reversals),
        sum(reversal.amount for reversal in reversals),
        bool(reversals),
        tuple(tuple(units.get(line.line_number, (0, 0, 0))) for line in record.lines),
        tuple(
            (
                line.amount * line.quantity_returned // line.quantity,
                line.points * line.quantity_returned // line.quantity,
            )
            for line in record.lines
        ),
    )
    found = (
        record.points_reversed,
        record.amount_reversed,
        record.reversal_way is not ReversalWay.NONE,
        tuple(
            (line.quantity_returned, line.amount_returned, line.points_returned)
            for line in record.lines
        ),
        tuple((line.amount_returned, line.points_returned) for line in record.lines),
    )
    return expected, found


def by_activity(reversals: Iterable[Reversal]) -> Mapping[str, list[Reversal]]:
    """Reversals by what they reverse."""
    grouped: dict[str, list[Reversal]] = {}
    for each in reversals:
        grouped.setdefault(each.activity_id, []).append(each)
    return grouped
