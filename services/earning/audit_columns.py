"""What an audit takes of wallets: columns as the database has them, instants in microseconds.

A ledger has millions of entries, and of nearly all of them nothing is to be told: nothing is made
of them that is thrown away again.
"""

from collections.abc import Mapping
from typing import TypeAlias

from services.earning.domain import Account, EntryType

Micros: TypeAlias = int | None
"""An instant, None where there is none."""
Owner: TypeAlias = tuple[str, str]
"""Key of the member and currency of a wallet."""
# fmt: off
EntryColumns: TypeAlias = tuple[
    str, str, int, str, int, int, int, int, str, int, int, str, str, str, int, int, str, bytes,
    int, Micros, Micros, Micros,
]
"""Columns of `entries` but the program, in their order."""
WalletColumns: TypeAlias = tuple[
    str, str, int, int, int, int, int, int, int, int, int, bytes, Micros, Micros, int
]
# fmt: on
"""Columns of `wallets` but the program, in their order."""
LotColumns: TypeAlias = tuple[str, str, int, int, int, Micros, Micros, str, int, int]
"""Owner, number and remainder of a lot, then what `LotTimes` has of it."""
LotTimes: TypeAlias = tuple[int, Micros, Micros, str, int, int]
"""Amount, when it is available and when it ends, its activity, whether it is pending and slides."""
Use: TypeAlias = tuple[int, int]
"""A lot, and the points that an entry gave back to it or, below zero, took."""

_ACCOUNTS = {
    EntryType.EARN: Account.ISSUANCE,
    EntryType.CREDIT: Account.ISSUANCE,
    EntryType.REVERSE: Account.REVERSAL,
    EntryType.HOLD: Account.NONE,
    EntryType.CAPTURE: Account.REDEMPTION,
    EntryType.VOID: Account.NONE,
    EntryType.REFUND: Account.REDEMPTION,
    EntryType.EXPIRE: Account.EXPIRY,
    EntryType.ACTIVATE: Account.NONE,
    EntryType.TRANSFER_IN: Account.TRANSFER,
    EntryType.TRANSFER_OUT: Account.TRANSFER,
    EntryType.ADJUST: Account.ADJUSTMENT,
    EntryType.EXTEND: Account.NONE,
    EntryType.REINSTATE: Account.EXPIRY,
    EntryType.REFERRAL: Account.ISSUANCE,
    EntryType.CONVERT_IN: Account.CONVERSION,
    EntryType.CONVERT_OUT: Account.CONVERSION,
}
ACCOUNT_OF: Mapping[str, str] = {type_.value: each.value for type_, each in _ACCOUNTS.items()}
"""The account of the program that each type of entry moves points against."""


def end_of(lot: LotTimes, slide_time: Micros) -> Micros:
    """Instant at which a lot ends, None for one that does not."""
    return slide_time if lot[5] else lot[2]
