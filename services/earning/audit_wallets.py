"""Recomputes a wallet, its lots and its holds from its entries alone.

Entries are taken as columns, many at once (`audit_columns.py`). The rules that violations name are
listed in `audit.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _quoted  # a text as JSON has it, not as ASCII

from services.earning.audit import DETAIL_MAX, Violation
from services.earning.audit_columns import (
    ACCOUNT_OF,
    EntryColumns,
    LotColumns,
    LotTimes,
    Micros,
    Use,
    WalletColumns,
    end_of,
)
from services.earning.audit_holds import TOLD, HoldsAudit
from services.earning.domain import Account, EntryType, Hold, Wallet
from services.earning.points_records import Adjustment
from shared.database import to_micros

_EXPIRE, _ACTIVATE = EntryType.EXPIRE.value, EntryType.ACTIVATE.value
_EXTEND, _REINSTATE = EntryType.EXTEND.value, EntryType.REINSTATE.value
_DATING = {_ACTIVATE, _EXTEND, _REINSTATE}
"""Entries that tell new times of a lot that is there."""
_ACCOUNTS = frozenset(ACCOUNT_OF.values())
_NEVER = 2**63
_NOTHING = sha256()
"""Copied for each entry, which costs less than to begin anew."""
_explained = lru_cache(maxsize=4_096)(_quoted)
"""Explanations come again, and are long."""


class WalletAudit:
    """Takes the entries of one wallet in their order, then compares what they come to."""

    def __init__(self, began: Wallet) -> None:
        """Begin with a wallet as it is before its entries, which is mostly an empty one."""
        self.violations: list[Violation] = []
        self._key = (str(began.program_id), str(began.member_key), str(began.currency_id))
        self._available, self._pending = began.available, began.pending
        self._held, self._debt = began.held, began.debt
        self._sequence, self._chain_hash = began.sequence, began.chain_hash
        self._slide_time = to_micros(began.slide_time) if began.slide_time else None
        self._to = dict.fromkeys(_ACCOUNTS, 0) | {
            Account.ISSUANCE.value: -began.earned,
            Account.REDEMPTION.value: began.spent,
            Account.EXPIRY.value: began.expired,
            Account.REVERSAL.value: began.reversed,
        }
        self._lots: dict[int, LotTimes] = {}
        self._left: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._holds = HoldsAudit()

    def add(self, entries: Sequence[EntryColumns], uses: Mapping[int, Sequence[Use]]) -> None:
        """Book entries on what was recomputed so far; `uses` are by number, in order of lots."""
        known = [each for each in entries if each[3] in ACCOUNT_OF and each[8] in _ACCOUNTS]
        if len(known) < len(entries):
            for each in entries:
                if each[3] not in ACCOUNT_OF or each[8] not in _ACCOUNTS:
                    self._expect("entry_type", each[2], "one that there is", (each[3], each[8]))
        self._chain(known, uses)
        self._book(known, uses)

    def _chain(self, entries: Iterable[EntryColumns], uses: Mapping[int, Sequence[Use]]) -> None:
        """Number and hash entries again; the text is that of `ledger.canonical_text`."""
        sequence, chain, uses_of = self._sequence, self._chain_hash, uses.get
        begun = _NOTHING.copy
        prefix = "[" + ",".join(map(_quoted, self._key))
        # fmt: off
        for (
            _, _, number, type_, available, pending, held, debt, account, delta, after, activity,
            reference, reason, occurred, created, explanation, stored, lot, lot_available,
            lot_expire, slides_to,
        ) in entries:
            # fmt: on
            sequence += 1
            if number != sequence:
                self._expect("entry_sequence", number, sequence, number)
            taken = uses_of(number)
            used = ",".join([f"[{name},{points}]" for name, points in taken]) if taken else ""
            text = (
                f'{prefix},{number},"{type_}",{available},{pending},{held},{debt},'
                f'"{account}",{delta},{after},{_quoted(activity)},{_quoted(reference)},'
                f"{_quoted(reason)},{occurred},{created},{_explained(explanation)},{lot},"
                f"{'null' if lot_available is None else lot_available},"
                f"{'null' if lot_expire is None else lot_expire},"
                f"{'null' if slides_to is None else slides_to},[{used}]]"
            )
            hashing = begun()
            hashing.update(chain + text.encode())
            chain = hashing.digest()
            if chain != stored:
                self._expect("entry_chain", number, chain.hex(), stored.hex())
        self._sequence, self._chain_hash = sequence, chain

    def _book(self, entries: Iterable[EntryColumns], uses: Mapping[int, Sequence[Use]]) -> None:
        """Move the points of entries, and compare what is left each time."""
        available, pending, held, debt = self._available, self._pending, self._held, self._debt
        lots, left, to, uses_of, expect = self._lots, self._left, self._to, uses.get, self._expect
        for columns in entries:
            _, _, number, type_, to_available, to_pending, to_held, to_debt = columns[:8]
            account, delta, after, activity = columns[8:12]
            lot, lot_available, lot_expire, slides_to = columns[18:]
            if to_available + to_pending + to_held + to_debt + delta:
                changes = to_available + to_pending + to_held + to_debt
                expect("entry_zero_sum", number, -changes, delta)
            if ACCOUNT_OF[type_] != account:
                expect("entry_account", number, ACCOUNT_OF[type_], account)
            to[account] += delta
            available += to_available
            pending += to_pending
            held += to_held
            debt -= to_debt
            if available != after:
                expect("entry_balance", number, available, after)
            if available < 0 or pending < 0 or held < 0 or debt < 0:
                expect("entry_balance", number, "0 or more", (available, pending, held, debt))
            used = uses_of(number, ())
            if type_ in TOLD:
                self._holds.add(columns, used, lots, self._slide_time)
            if slides_to is not None:
                self._slide_time = slides_to
            came = 0, 0
            if lot == number and type_ not in _DATING:
                slides = slides_to is not None and lot_expire is None
                lots[lot] = -delta, lot_available, lot_expire, activity, to_pending > 0, slides
                left[lot] = -delta
                came = (0, -delta) if to_pending > 0 else (-delta, 0)
            elif lot:
                came = self._date(columns)
            if used:
                came = self._use(columns, used, came)
            if came != (to_available, to_pending):
                expect("entry_lots", number, (to_available, to_pending), came)
        self._available, self._pending, self._held, self._debt = available, pending, held, debt

    def finish(
        self,
        stored: WalletColumns | None,
        lots: Iterable[LotColumns],
        holds: Iterable[Hold],
        adjustments: Iterable[Adjustment],
        frozen: int,
    ) -> None:
        """Compare what is stored of the wallet with what the entries make of it.

        No entry freezes a wallet: `frozen` is how its member's state closes it.
        """
        to = self._to
        made = (
            *(self._available, self._pending, self._held, self._debt),
            *(-to["issuance"], to["redemption"], to["expiry"], to["reversal"]),
            *(self._sequence, self._chain_hash, self._slide_time),
        )
        # What is stored of what follows from the entries.
        found = None if stored is None else stored[2:13]
        if made != found:
            self._expect("wallet_equals_entries", 0, made, found)
        if stored is not None and stored[14] not in {0, frozen}:
            self._expect("wallet_equals_entries", 0, f"frozen {frozen}", stored[14])
        self._look_ahead(stored and stored[13])
        self._compare_lots(lots)
        held = self._holds.finish(holds, adjustments, self._differs)
        if held != self._held:
            self._expect("holds_equal_entries", 0, self._held, held)

    def _look_ahead(self, next_time: Micros) -> None:
        """The clock looks at the wallet no later than at the first thing that it has to do."""
        first, slide_time = _NEVER, self._slide_time
        for number, (_, available, end, _, is_pending, slides) in self._lots.items():
            at = available if is_pending else slide_time if slides else end
            if at is not None and at < first and self._left[number]:
                first = at
        if first != _NEVER and (next_time is None or next_time > first):
            detail = f"the clock looks at {next_time}, and has to at {first}"
            self._say("wallet_next_time", "/".join(self._key), detail)

    def _compare_lots(self, lots: Iterable[LotColumns]) -> None:
        made, left = self._lots, self._left
        missing = set(made)
        for stored in lots:
            number = stored[2]
            lot = made.get(number)
            if lot is None or left[number] != stored[3] or stored[4:] != lot:
                expected = lot and (left[number], *lot)
                self._differs("lots_equal_entries", str(number), expected, stored[3:])
            missing.discard(number)
        for number in sorted(missing):
            expected = (left[number], *made[number])
            self._differs("lots_equal_entries", str(number), expected, None)

    def _date(self, columns: EntryColumns) -> tuple[int, int]:
        """Tell new times of a lot; what that brings available and pending."""
        number, type_, occurred, created = columns[2], columns[3], columns[14], columns[15]
        lot, lot_available, lot_expire, slides_to = columns[18:]
        known = self._lots.get(lot)
        if known is None or type_ not in _DATING:
            self._expect("entry_lots", number, "a lot that it may date", lot)
            return 0, 0
        self._come_back(columns, end_of(known, self._slide_time))
        amount, _, _, activity, is_pending, _ = known
        activates, left = type_ == _ACTIVATE, self._left[lot]
        if activates:
            told = (bool(is_pending), lot_available)
            if told != (True, occurred):
                self._expect("entry_lots_time", number, (True, occurred), told)
            if occurred > created:
                self._expect("entry_lots_time", number, f"not before {occurred}", created)
        slides = slides_to is not None and lot_expire is None
        still = is_pending and not activates
        self._lots[lot] = amount, lot_available, lot_expire, activity, still, slides
        return (left, -left) if activates else (0, 0)

    def _come_back(self, columns: EntryColumns, end: Micros) -> None:
        """What is extended ends later, and of a lot no more comes back than has ended."""
        number, type_, lot, lot_expire = columns[2], columns[3], columns[18], columns[20]
        if type_ == _EXTEND:
            if end is None or lot_expire is None or lot_expire <= end:
                self._expect("entry_lots_time", number, f"an end after {end}", lot_expire)
        elif type_ == _REINSTATE:
            left = self._ended.get(lot, 0) + columns[9]
            self._ended[lot] = left
            if left < 0:
                self._expect("entry_lots", number, "points that had ended", f"{-left} more")

    def _use(
        self, columns: EntryColumns, uses: Sequence[Use], came: tuple[int, int]
    ) -> tuple[int, int]:
        """Take of lots and give back to them; what comes available and pending, `came` included."""
        number, type_, occurred, created = columns[2], columns[3], columns[14], columns[15]
        available, pending = came
        expires = type_ == _EXPIRE
        # What is booked late repaid debt at its instant.
        then = occurred if expires or type_ == _ACTIVATE else created
        for lot, points in uses:
            known = self._lots.get(lot)
            if known is None:
                self._expect("entry_lots", number, "lots that were made", lot)
                continue
            is_pending, end = known[4], end_of(known, self._slide_time)
            after = self._left[lot] + points
            has_ended = end is not None and end <= then and not is_pending
            if expires:
                self._ended[lot] = self._ended.get(lot, 0) - points
                if not has_ended or after or occurred > created:
                    self._expect("entry_lots_time", number, "all of what ended", (lot, points))
            elif has_ended and points < 0:
                self._expect("entry_lots_time", number, f"a lot that ends after {then}", lot)
            if not 0 <= after <= known[0]:
                self._expect("entry_lots", number, f"0 to {known[0]} in lot {lot}", after)
            self._left[lot] = after
            if is_pending:
                pending += points
            else:
                available += points
        return available, pending

    def _expect(self, rule: str, number: int, expected: object, found: object) -> None:
        """Say what differs in an entry, or with number 0 in the wallet."""
        subject = "/".join(self._key) + (f"#{number}" if number else "")
        self._say(rule, subject, f"expected {expected}, found {found}")

    def _differs(self, rule: str, name: str, expected: object, found: object) -> None:
        """Say it where a part of the wallet differs."""
        if expected != found:
            subject = "/".join((*self._key, name))
            self._say(rule, subject, f"expected {expected}, found {found}")

    def _say(self, rule: str, subject: str, detail: str) -> None:
        self.violations.append(Violation(rule=rule, subject=subject, detail=detail[:DETAIL_MAX]))
