"""Seals, proofs and statements as a command shows them."""

from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from cli import explaining, pages
from cli.peers import Peers
from guerdon.earning.v1 import seal_pb2
from guerdon.earning.v1 import seal_service_pb2 as pb
from guerdon.earning.v1 import statement_service_pb2 as statements_pb

Seal: TypeAlias = seal_pb2.Seal
WalletProof: TypeAlias = seal_pb2.WalletProof
StatementPage: TypeAlias = statements_pb.GetStatementResponse


async def seals(peers: Peers, program_id: str, day: str, latest: int) -> list[Seal]:
    """The seals of the latest days, or that of one day."""
    if day:
        one = await peers.seals.GetSeal(pb.GetSealRequest(program_id=program_id, day=day))
        return [one.seal]
    request = pb.ListSealsRequest(program_id=program_id, page_size=latest)
    return list((await peers.seals.ListSeals(request)).seals)


async def proof(
    peers: Peers, program_id: str, member_id: str, currency_id: str, day: str
) -> WalletProof:
    """The steps from a member's wallet to the root of a day's seal, or of the latest."""
    request = pb.ProveWalletRequest(
        program_id=program_id, member_id=member_id, currency_id=currency_id, day=day
    )
    return (await peers.seals.ProveWallet(request)).proof


def seals_table(found: list[Seal]) -> RenderableType:
    """Seals with what they say; hashes with their first digits."""
    if not found:
        return Text("No day was sealed yet.")
    table = pages.headed("day", "wallets", "entries", "points", "root", "seal")
    for each in found:
        points = [
            f"{of.points_available + of.points_pending + of.points_held - of.points_debt:,} "
            f"{of.currency_id}"
            for of in each.points
        ]
        pages.add_row(
            table,
            each.day,
            f"{each.wallets:,}",
            f"{each.entries:,}",
            ", ".join(points),
            each.root.hex()[:12],
            each.seal_hash.hex()[:12],
        )
    return table


def proof_page(found: WalletProof) -> RenderableType:
    """A wallet's place in a seal, and the steps to its root."""
    wallet = f"{found.member_key} {found.currency_id}, entry {found.sequence}"
    return Group(
        Text(f"{wallet}: {found.chain_hash.hex()}"),
        *(
            Text(f"{'left ' if step.is_left else 'right'} {step.hash.hex()}")
            for step in found.steps
        ),
        Text(f"root of {found.seal.day}: {found.seal.root.hex()}", style="bold"),
        Text(f"seal of {found.seal.day}: {found.seal.seal_hash.hex()}", style="bold"),
    )


async def statement(
    peers: Peers, program_id: str, member_id: str, currency_id: str, month: str
) -> StatementPage:
    """A month of a wallet, with all its entries."""
    request = statements_pb.GetStatementRequest(
        program_id=program_id,
        member_id=member_id,
        currency_id=currency_id,
        month=month,
        page_size=1_000,
    )
    found = await peers.statements.GetStatement(request)
    while found.next_page_token:
        request.page_token = found.next_page_token
        page = await peers.statements.GetStatement(request)
        found.entries.extend(page.entries)
        found.next_page_token = page.next_page_token
    return found


def statement_page(found: StatementPage) -> RenderableType:
    """What a wallet had, what moved and what it has, and the month's entries."""
    of = found.statement
    table = pages.headed("", "points", title=f"{of.month}, {of.currency_id}")
    rows = (
        ("opening", of.opening.points_total),
        ("earned", of.points_earned),
        ("spent", -of.points_spent),
        ("expired", -of.points_expired),
        ("reversed", -of.points_reversed),
        ("transferred", of.points_transferred),
        ("converted", of.points_converted),
        ("adjusted", of.points_adjusted),
        ("closing", of.closing.points_total),
        ("of which available", of.closing.points_available),
        ("pending", of.closing.points_pending),
        ("held", of.closing.points_held),
        ("owed", of.closing.points_debt),
        *((f"ending in {each.month}", each.points) for each in of.expiring),
    )
    for name, points in rows:
        pages.add_row(table, name, f"{points:,}")
    return Group(table, explaining.entries_table(list(found.entries)))
