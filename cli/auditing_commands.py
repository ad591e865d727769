"""The commands of auditors: the seals of days, and statements of months."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import shell
from cli.shell import AsJson, Var, out

ProgramId = Annotated[str, typer.Option("--program", help="The program's identifier.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (seals, statement):
        app.command()(command)


def seals(
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    day: Annotated[str, typer.Option(help="Only the seal of this day, as 2026-10-31.")] = "",
    prove: Annotated[
        str, typer.Option(help="A member whose wallet is proved in the seal, with --json.")
    ] = "",
    currency: Annotated[str, typer.Option(help="The wallet's points currency.")] = "",
    latest: Annotated[int, typer.Option(help="How many days to list.", min=1, max=1000)] = 31,
    as_json: AsJson = False,
) -> None:
    """List the daily seals of a program's ledger, the latest first, or prove a wallet in one."""
    from google.protobuf import json_format

    from cli import auditing
    from cli.peers import reached

    async def listed() -> list[auditing.Seal]:
        async with reached(var) as peers:
            return await auditing.seals(peers, program, day, latest)

    async def proved() -> auditing.WalletProof:
        async with reached(var) as peers:
            return await auditing.proof(peers, program, prove, currency, day)

    if prove:
        proof = shell.run(proved())
        if as_json:
            shell.write_json(json.dumps(json_format.MessageToDict(proof)))
        else:
            out.print(auditing.proof_page(proof))
        return
    found = shell.run(listed())
    if as_json:
        shell.write_json(json.dumps([json_format.MessageToDict(each) for each in found]))
    else:
        out.print(auditing.seals_table(found))


def statement(
    member: Annotated[str, typer.Argument(help="The member, by any of its identifiers.")],
    month: Annotated[str, typer.Option(help="The month, as 2026-10.")],
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    currency: Annotated[str, typer.Option(help="The points currency; the first by default.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show a month of a member's wallet: what it had, what moved, and what it has."""
    from google.protobuf import json_format

    from cli import auditing
    from cli.peers import reached

    async def run() -> auditing.StatementPage:
        async with reached(var) as peers:
            return await auditing.statement(peers, program, member, currency, month)

    found = shell.run(run())
    if as_json:
        shell.write_json(json.dumps(json_format.MessageToDict(found)))
    else:
        out.print(auditing.statement_page(found))
