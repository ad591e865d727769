"""What all commands share: where they print, their common options, and how they fail."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)

Var = Annotated[Path, typer.Option("--var", help="The folder that holds the data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Author = Annotated[str, typer.Option(help="Who applies it; the user's name by default.")]
DryRun = Annotated[bool, typer.Option(help="Only show the difference.")]
PublishAt = Annotated[
    str,
    typer.Option(
        help="When it comes into force, as 2026-12-24T00:00; in the program's zone unless the time "
        "has an offset. At once by default."
    ),
]
CancelScheduled = Annotated[
    bool,
    typer.Option(
        "--cancel-scheduled",
        help="Drop the version that is scheduled; what is applied instead counts at once.",
    ),
]
T = TypeVar("T")


def run(work: Coroutine[None, None, T], *, aim: str = "applied") -> T:
    """Run a command's work; what a user can mend ends in one clear line and exit status 1.

    `aim` is what a wrong file keeps from being done.
    """
    import grpc

    from cli import (
        cluster,
        documents,
        explaining,
        instants,
        points,
        programs,
        quiescence,
        retail,
        valkey,
    )
    from cli import replay as replaying
    from cli import workers as processes
    from shared import errors
    from shared.rpc import client, loop

    try:
        return loop.run(work)
    except documents.BadDocuments as bad:
        for complaint in bad.complaints:
            say(str(complaint))
        fail(f"nothing was {aim}: {len(bad.complaints)} complaint(s)")
    except replaying.ReplayRefused as refused:
        for document in refused.refused[:20]:
            say(f"{document.number}: {document.reason}: {document.message}")
        fail(f"{refused}; the rest of their day was sent, and a new run goes on from there")
    except quiescence.NotQuiet as moving:
        fail(f"the cluster did not become quiet: {moving}")
    except (
        cluster.CannotStart,
        cluster.DataFolderInUse,
        cluster.NotOurs,
        errors.Refusal,
        explaining.NoSuchEntry,
        instants.NotAnInstant,
        points.PointsRefused,
        processes.WorkerEnded,
        programs.FilesThere,
        replaying.ClockNotSimulated,
        retail.NotAnInvoiceFile,
        valkey.NoServerFound,
        valkey.ServerFailed,
    ) as problem:
        fail(str(problem))
    except grpc.aio.AioRpcError as error:
        refusal = client.refusal_of(error)
        fail(f"{refusal.reason or refusal.code}: {refusal}")


def say(text: str) -> None:
    """Print a line to the standard error as it is: paths stay whole, brackets are no markup."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def fail(text: str) -> NoReturn:
    """End the command with one line that says what to do, and exit status 1."""
    err.print(f"guerdon: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def tell(text: str) -> None:
    """Print a line as it is: paths stay whole, brackets are no markup."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def write_json(content: str) -> None:
    """Print JSON on a line of its own, as it is."""
    sys.stdout.write(content + "\n")
