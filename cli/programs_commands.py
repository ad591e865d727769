"""The commands about a live program: its versions, rollbacks, files, previews, explanations."""

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer

from cli import shell
from cli.shell import AsJson, Author, CancelScheduled, DryRun, PublishAt, Var, out

Program = Annotated[str, typer.Argument(help="The program's identifier.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (versions, rollback, export, preview, explain):
        app.command()(command)


def versions(program: Program, var: Var = Path("var"), as_json: AsJson = False) -> None:
    """List the versions of a program's documents: who applied them, and since when they count."""
    from google.protobuf import json_format

    from cli import pages, programs
    from cli.peers import reached

    async def run() -> dict[str, list[programs.Listed]]:
        async with reached(var) as peers:
            return await programs.versions(peers, program)

    found = shell.run(run())
    if as_json:
        listed = {
            name: [json_format.MessageToDict(e) for e in each] for name, each in found.items()
        }
        shell.write_json(json.dumps(listed))
    else:
        out.print(pages.program_versions_table(found))


def rollback(
    program: Program,
    service: Annotated[str, typer.Option(help="Whose document: earning, tiers, ...")],
    to: Annotated[int, typer.Option(help="The version whose content comes back.", min=1)],
    var: Var = Path("var"),
    dry_run: DryRun = False,
    publish_at: PublishAt = "",
    cancel_scheduled: CancelScheduled = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Apply what an earlier version said as a new version, and show what that changes."""
    from google.protobuf import json_format

    from cli import instants, pages, programs
    from cli.peers import reached

    if service not in programs.SERVICES:
        shell.fail(f"no service is called {service}; there are {', '.join(programs.SERVICES)}")

    async def run() -> programs.Done:
        async with reached(var) as peers:
            zone = None
            if publish_at:
                zone = instants.zone_of(
                    [each.document for each in await programs.live(peers, program)]
                )
            return await programs.rollback(
                peers,
                program,
                service,
                to,
                author=author or getpass.getuser(),
                validate_only=dry_run,
                publish_time=instants.parse(publish_at, zone),
                cancel_scheduled=cancel_scheduled,
            )

    applied = shell.run(run())
    if as_json:
        shell.write_json(json.dumps({"service": service, **json_format.MessageToDict(applied)}))
        return
    out.print(pages.changes_table([(service, each) for each in applied.differences]))
    out.print(pages.rolled_back(service, to, applied, dry_run=dry_run))


def export(
    program: Program,
    folder: Annotated[Path, typer.Argument(help="Where the files go, one for each service.")],
    var: Var = Path("var"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over files that differ.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the program that is in force as the files that `guerdon apply` reads."""
    from cli import programs
    from cli.peers import reached

    async def run() -> list[programs.Stored]:
        async with reached(var) as peers:
            stored = await programs.live(peers, program)
        programs.export(stored, folder, overwrite=overwrite)
        return stored

    stored = shell.run(run())
    if as_json:
        files = {each.service: str(folder / f"{each.service}.yaml") for each in stored}
        shell.write_json(json.dumps({"files": files}))
        return
    for each in stored:
        shell.tell(f"{folder / each.service}.yaml is version {each.version} of {each.service}")


def preview(
    program: Program,
    file: Annotated[
        Path,
        typer.Argument(
            help="One activity, or a list, as YAML or JSON.", exists=True, dir_okay=False
        ),
    ],
    var: Var = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Show what activities would earn now, rule by rule; nothing is recorded.

    Exit status 1 when one of them would be refused.
    """
    from cli import documents, explaining
    from cli.peers import reached
    from guerdon.earning.v1.activity_pb2 import Activity

    async def run() -> list[explaining.Previewed]:
        activities = documents.messages(file, Activity)
        async with reached(var) as peers:
            return await explaining.preview(peers, program, activities)

    previewed = shell.run(run(), aim="previewed")
    if as_json:
        shell.write_json(json.dumps([each.as_json() for each in previewed]))
    else:
        out.print(explaining.preview_page(previewed))
    if any(each.refusal is not None for each in previewed):
        raise typer.Exit(1)


def explain(
    program: Program,
    member: Annotated[str, typer.Argument(help="The member, by any of its identifiers.")],
    entry: Annotated[int, typer.Option(help="The entry to explain, by its number.", min=0)] = 0,
    currency: Annotated[str, typer.Option(help="The points currency; the first by default.")] = "",
    var: Var = Path("var"),
    as_json: AsJson = False,
) -> None:
    """List a member's latest entries, or say why one of them was booked."""
    from google.protobuf import json_format

    from cli import explaining
    from cli.peers import reached

    async def latest() -> list[explaining.Entry]:
        async with reached(var) as peers:
            return await explaining.entries(peers, program, member, currency)

    async def one() -> explaining.Story:
        async with reached(var) as peers:
            return await explaining.explained(peers, program, member, currency, entry)

    if entry:
        story = shell.run(one())
        if as_json:
            shell.write_json(json.dumps([explaining.story_json(story)]))
        else:
            out.print(explaining.entry_page(story))
        return
    found = shell.run(latest())
    if as_json:
        shell.write_json(json.dumps([json_format.MessageToDict(each) for each in found]))
    else:
        out.print(explaining.entries_table(found))
        if found:
            out.print("`--entry N` says why an entry was booked.")
