"""The `guerdon` command."""

import asyncio
import contextlib
import getpass
import json
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from cli import (
    auditing_commands,
    households_commands,
    parked_commands,
    points_commands,
    programs_commands,
    shell,
)
from cli.shell import AsJson, Author, CancelScheduled, DryRun, PublishAt, Var, err, out

if TYPE_CHECKING:
    from cli.verify import Stage

app = typer.Typer(
    name="guerdon",
    help="A loyalty and gamification cluster: serve it, apply programs, replay files, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)
PROGRAMS = Path(__file__).resolve().parent.parent / "programs"
DEMO_FILE = PROGRAMS / "giftshop" / "data" / "online_retail_sample.csv"

ProgramId = Annotated[str, typer.Option("--program", help="The program's identifier.")]


@app.command()
def up(
    var: Var = Path("var"),
    clock_start: Annotated[
        str, typer.Option(help="Run on a simulated clock that starts at this ISO instant.")
    ] = "",
    port: Annotated[
        int, typer.Option(help="The first of four ports; 0 takes free ones.", min=0, max=65532)
    ] = 50051,
    as_json: AsJson = False,
) -> None:
    """Serve all four services in one process until stopped, on SQLite and Valkey."""
    from cli import cluster, pages

    async def run() -> None:
        ports = {name: port + index for index, name in enumerate(cluster.SERVICES)} if port else {}
        async with cluster.running(var, clock_start=clock_start, ports=ports) as started:
            if as_json:
                content = {"addresses": dict(started.addresses), "redis": started.redis_url}
                sys.stdout.write(json.dumps(content) + "\n")
                sys.stdout.flush()
            else:
                out.print(pages.addresses_table(started.addresses, started.redis_url))
                out.print("Press Ctrl-C to stop.")
            await asyncio.Event().wait()

    shell.run(_until_stopped(run()))


@app.command()
def serve(
    services: Annotated[list[str], typer.Argument(help="earning, tiers, redemption, gamification")],
    workers: Annotated[
        int, typer.Option(help="Processes that share the port, one for each core.", min=1, max=256)
    ] = 1,
) -> None:
    """Serve some services, with settings from the environment, until stopped."""
    import os

    from cli import cluster
    from cli import workers as processes

    unknown = sorted(set(services) - set(cluster.SERVICES))
    if unknown:
        shell.fail(
            f"no service is called {', '.join(unknown)}; there are {', '.join(cluster.SERVICES)}"
        )

    async def run() -> None:
        if workers > 1:
            await processes.serve(list(dict.fromkeys(services)), workers, os.environ)
        async with contextlib.AsyncExitStack() as stack:
            for service in dict.fromkeys(services):
                started = await cluster.start_service(service, os.environ)
                stack.push_async_callback(started.stop)
                out.print(f"{service} listens on {started.address}")
            await asyncio.Event().wait()

    shell.run(_until_stopped(run()))


@app.command()
def apply(
    folder: Annotated[
        Path, typer.Argument(help="The program's folder, with one YAML per service.")
    ],
    var: Var = Path("var"),
    dry_run: DryRun = False,
    prune: Annotated[bool, typer.Option(help="Remove what the files no longer hold.")] = False,
    publish_at: PublishAt = "",
    cancel_scheduled: CancelScheduled = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Show how a program's files differ from what is in force, then apply them as a new version."""
    from google.protobuf import json_format

    from cli import apply as applying
    from cli import documents, instants, overlaps, pages
    from cli.peers import reached

    async def run() -> list[applying.Applied]:
        loaded = documents.load(folder)
        zone = instants.zone_of([each.message for each in loaded])
        publish_time = instants.parse(publish_at, zone)
        async with reached(var) as peers:

            def show(planned: object) -> bool:
                if not as_json:
                    out.print(pages.difference_table(list(planned)))  # type: ignore[call-overload]
                return True

            return await applying.apply(
                peers,
                loaded,
                author=author or getpass.getuser(),
                validate_only=dry_run,
                prune=prune,
                publish_time=publish_time,
                cancel_scheduled=cancel_scheduled,
                confirm=show,
            )

    applied = shell.run(run())
    if as_json:
        sys.stdout.write(
            json.dumps(
                [
                    {
                        "service": one.document.service,
                        "version": one.version,
                        "differences": [json_format.MessageToDict(d) for d in one.differences],
                        "scheduled": one.scheduled and json_format.MessageToDict(one.scheduled),
                        "notes": list(overlaps.notes(one.document.message)),
                    }
                    for one in applied
                ]
            )
            + "\n"
        )
    elif dry_run:
        out.print(pages.difference_table(applied))
    else:
        out.print(pages.versions_table(applied))


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="The invoice file (CSV).", exists=True, dir_okay=False)
    ],
    var: Var = Path("var"),
    program: ProgramId = "giftshop",
    as_json: AsJson = False,
) -> None:
    """Replay a retailer's invoice file through the API, on the simulated clock."""
    from dataclasses import asdict

    from cli import pages, retail
    from cli import replay as replaying
    from cli.demo import CLOCK_START
    from cli.peers import reached

    async def run() -> dict[str, object]:
        documents = retail.read(file)
        if documents.broken and not as_json:
            err.print(pages.broken_table(documents.broken))
        async with reached(var, clock_start=CLOCK_START) as peers:
            with _progress("replaying", len(documents.documents), quiet=as_json) as advance:
                sent = await replaying.replay(peers, program, documents, on_day=advance)
        return {
            "purchases": sent.purchases,
            "returns": sent.returns,
            "broken_rows": [asdict(row) for row in documents.broken],
            **asdict(documents.counts),
        }

    result = shell.run(run())
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        out.print(f"Sent {result['purchases']} purchases and {result['returns']} returns.")


@app.command()
def demo(
    var: Var = Path("var/demo"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew: delete the demo's data.")
    ] = False,
    file: Annotated[Path, typer.Option(help="The invoice file.", exists=True)] = DEMO_FILE,
    as_json: AsJson = False,
) -> None:
    """Replay a real gift shop's half year, redeem, show the result, and verify it."""
    from cli import apply as applying
    from cli import cluster, documents, pages, retail, verify
    from cli import demo as demonstrating
    from cli import replay as replaying
    from cli.peers import reached
    from shared.clock import monotonic

    async def run() -> dict[str, object]:
        if fresh:
            cluster.remove(var)
        began = monotonic()
        invoices = retail.read(file)
        if invoices.broken:
            err.print(pages.broken_table(invoices.broken))
        async with reached(var, clock_start=demonstrating.CLOCK_START) as peers:
            program = documents.load(PROGRAMS / demonstrating.PROGRAM_ID)
            await applying.apply(peers, program, author="guerdon demo")
            with _progress("replaying", len(invoices.documents), quiet=as_json) as advance:
                sent = await replaying.replay(
                    peers,
                    demonstrating.PROGRAM_ID,
                    invoices,
                    errands=demonstrating.errands(peers, invoices),
                    on_day=advance,
                )
            result = await demonstrating.summary(peers, invoices)
            shown = await demonstrating.shown(peers, sorted(sent.customers))
            violations = await verify.verify(peers)
        result["verify_violations"] = len(violations)
        result["seconds"] = round(monotonic() - began, 2)
        demonstrating.write_summary(var / "summary.json", result)
        if not as_json:
            out.print(pages.demo_page(result, shown))
            out.print(pages.violations_table(violations))
            out.print(f"{result['seconds']} s; the summary is in {var / 'summary.json'}")
        return result

    summary = shell.run(run())
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    if summary["verify_violations"]:
        raise typer.Exit(1)


@app.command(name="verify")
def verify_command(
    var: Var = Path("var"),
    program: Annotated[str, typer.Option("--program", help="Only this program.")] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute everything from entries and events alone.

    Exit status 1 when something is violated.
    """
    from dataclasses import asdict

    from cli import cluster, pages, verify
    from cli.peers import reached

    if not cluster.configured_addresses() and not cluster.has_data(var):
        shell.fail(f"there is no data in {var}: name its folder with --var")

    async def run() -> list[verify.Violation]:
        async with reached(var) as peers:
            if as_json:
                return await verify.verify(peers, program)
            with _stages() as on_stage:
                return await verify.verify(peers, program, on_stage=on_stage)

    violations = shell.run(run())
    if as_json:
        sys.stdout.write(json.dumps([asdict(violation) for violation in violations]) + "\n")
    else:
        out.print(pages.violations_table(violations))
    if violations:
        raise typer.Exit(1)


async def _until_stopped(work: Coroutine[object, object, None]) -> None:
    """Do work that does not end by itself until SIGINT or SIGTERM; what it opened is closed.

    The signals are heard from the first moment: a cluster may be stopped while it starts.
    """
    task = asyncio.ensure_future(work)
    if threading.current_thread() is threading.main_thread():  # no other can hear them
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def _progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar; yields what advances it."""
    with Progress(*_COLUMNS, console=err, disable=quiet) as progress:
        task = progress.add_task(what, total=total)

        def advance(by: int) -> None:
            progress.advance(task, by)

        yield advance


@contextlib.contextmanager
def _stages() -> Iterator[Callable[["Stage"], None]]:
    """One progress bar per stage of a verification; yields what moves them."""
    tasks: dict[str, TaskID] = {}
    with Progress(*_COLUMNS, console=err) as progress:

        def on_stage(stage: "Stage") -> None:
            name = f"{stage.service}: {stage.name}"
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=stage.total)
            progress.update(tasks[name], completed=stage.done, total=stage.total)

        yield on_stage


programs_commands.register(app)
auditing_commands.register(app)
households_commands.register(app)
parked_commands.register(app)
points_commands.register(app)

if __name__ == "__main__":
    app()
