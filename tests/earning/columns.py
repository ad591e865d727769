"""Values of the ledger as the columns that an audit takes."""

from datetime import datetime

from services.earning import tables
from services.earning.audit_columns import EntryColumns, LotColumns, Micros, WalletColumns
from services.earning.domain import Entry, Lot, Wallet
from services.earning.rows import entry_row, wallet_row
from shared.database import to_micros


def of_entry(entry: Entry) -> EntryColumns:
    row = entry_row(entry)
    columns = [_plain(row[column.name]) for column in tables.entries.c]
    return tuple(columns[1:])  # type: ignore[return-value]


def of_wallet(wallet: Wallet) -> WalletColumns:
    row = wallet_row(wallet)
    columns = [_plain(row[column.name]) for column in tables.wallets.c]
    return tuple(columns[1:])  # type: ignore[return-value]


def of_lot(wallet: Wallet, lot: Lot) -> LotColumns:
    return (
        *(wallet.member_key, wallet.currency_id, lot.lot_sequence, lot.remaining, lot.amount),
        *(_micros(lot.available_time), _micros(lot.expire_time)),
        *(lot.activity_id, int(lot.is_pending), int(lot.is_sliding)),
    )


def _plain(value: object) -> object:
    return to_micros(value) if isinstance(value, datetime) else value


def _micros(instant: datetime | None) -> Micros:
    return None if instant is None else to_micros(instant)
