"""The commands about members whom a service could not follow: `guerdon parked …`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import shell
from cli.shell import AsJson, Var, out

Service = Annotated[
    str, typer.Option("--service", help="Only those that wait in this service; else in all.")
]
MemberKey = Annotated[
    str, typer.Option("--member-key", help="Only this member, by the key that `list` shows.")
]

app = typer.Typer(
    name="parked",
    help="List the members whom a service could not follow, and try them again.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the group of commands to the application."""
    root.add_typer(app)


@app.command("list")
def list_(service: Service = "", var: Var = Path("var"), as_json: AsJson = False) -> None:
    """List the members that wait, where, and what their oldest event failed with."""
    from cli import parked
    from cli.peers import reached

    async def run() -> list[parked.Waiting]:
        _known(service)
        async with reached(var) as peers:
            return await parked.listed(peers, service=service)

    found = shell.run(run())
    if as_json:
        shell.write_json(json.dumps([parked.content(each) for each in found]))
    else:
        out.print(parked.table(found))


@app.command()
def retry(
    service: Service = "",
    member_key: MemberKey = "",
    var: Var = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Apply what waits of the members, in order and once; those that fail again go on waiting."""
    from dataclasses import asdict

    from cli import parked
    from cli.peers import reached

    async def run() -> list[parked.Retried]:
        _known(service)
        async with reached(var) as peers:
            waiting = await parked.listed(peers, service=service, member_key=member_key)
            return await parked.retried(peers, waiting)

    done = shell.run(run())
    if as_json:
        shell.write_json(json.dumps([asdict(each) for each in done]))
    else:
        out.print(parked.results(done))
    if any(each.waiting for each in done):
        raise typer.Exit(1)


def _known(service: str) -> None:
    from cli import cluster

    if service and service not in cluster.SERVICES:
        there = ", ".join(cluster.SERVICES)
        shell.fail(f"no service is called {service}; there are {there}")
