"""A wallet with its lots, while one decision moves them several times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.earning.domain import Entry, Lot, Wallet
from services.earning.ledger import Movement


@dataclass(slots=True, kw_only=True)
class Books:
    """A wallet and lots that movements change one after the other, and those movements."""

    began: Wallet
    wallet: Wallet
    lots: dict[int, Lot]
    movements: list[Movement] = field(default_factory=list)

    @classmethod
    def of(cls, wallet: Wallet, lots: Mapping[int, Lot]) -> "Books":
        """Books that leave what they are made of alone."""
        return cls(began=wallet, wallet=wallet, lots=dict(lots))

    def book(self, movement: Movement) -> Entry:
        """Go on from what a movement left."""
        self.wallet = movement.wallet
        if movement.made is not None:
            self.lots[movement.made.lot_sequence] = movement.made
        for lot in movement.changed:
            self.lots[lot.lot_sequence] = lot
        self.movements.append(movement)
        return movement.entry

    @property
    def rewritten(self) -> tuple[Wallet, ...]:
        """The wallet, when what it is now is not what the last movement left."""
        if self.wallet is (self.movements[-1].wallet if self.movements else self.began):
            return ()
        return (self.wallet,)
