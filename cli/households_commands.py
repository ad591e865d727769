"""The commands about households: `guerdon households …`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import shell
from cli.shell import AsJson, Var, out

Member = Annotated[str, typer.Argument(help="A member of it, by any of its identifiers.")]
ProgramId = Annotated[str, typer.Option("--program", help="The program's identifier.")]

app = typer.Typer(name="households", help="Show who pools points with whom.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group of commands to the application."""
    root.add_typer(app)


@app.command("list")
def list_(program: ProgramId = "giftshop", var: Var = Path("var"), as_json: AsJson = False) -> None:
    """List the households of a program with their members."""
    from google.protobuf import json_format

    from cli import households
    from cli.peers import reached

    async def run() -> list[households.Household]:
        async with reached(var) as peers:
            return await households.listed(peers, program)

    found = shell.run(run())
    if as_json:
        shell.write_json(json.dumps([json_format.MessageToDict(each) for each in found]))
    else:
        out.print(households.table(found))


@app.command()
def show(
    member: Member,
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Show the household of a member, and what each member has."""
    from google.protobuf import json_format

    from cli import households
    from cli.peers import reached

    async def run() -> households.HouseholdNow:
        async with reached(var) as peers:
            return await households.shown(peers, program, member)

    found = shell.run(run())
    if as_json:
        shell.write_json(json.dumps(json_format.MessageToDict(found)))
    else:
        out.print(households.page(found))
