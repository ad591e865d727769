"""The commands that move points by hand: `guerdon points …`."""

import getpass
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from google.protobuf.message import Message

from cli import shell
from cli.shell import AsJson, Var, out

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cli.peers import Peers

Member = Annotated[str, typer.Argument(help="The member, by any of its identifiers.")]
ProgramId = Annotated[str, typer.Option("--program", help="The program's identifier.")]
Currency = Annotated[str, typer.Option(help="The points currency; the first by default.")]
Reason = Annotated[str, typer.Option(help="Why, in words that a member may read.")]
Actor = Annotated[str, typer.Option(help="Who does it; the user's name by default.")]
RequestId = Annotated[
    str, typer.Option(help="The same one again does it once; a new one by default.")
]
Lot = Annotated[int, typer.Option(help="The lot, by the number of the entry that made it.", min=0)]
Until = Annotated[
    str, typer.Option(help="The new end, as 2027-01-31T00:00, in the program's zone.")
]
AdjustmentId = Annotated[str, typer.Argument(help="The adjustment's identifier.")]

M = TypeVar("M", bound=Message)

app = typer.Typer(
    name="points",
    help="Move points by hand: give, take, transfer, convert, extend, bring back.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the group of commands to the application."""
    root.add_typer(app)


def _done(
    var: Path,
    work: "Callable[[Peers, str], Awaitable[M]]",
    page: "Callable[[M], RenderableType]",
    *,
    request_id: str = "",
    as_json: bool,
) -> None:
    """Ask for something with an idempotency key, and show the answer."""
    from google.protobuf import json_format

    from cli.peers import reached
    from shared.ids import SystemIds

    async def run() -> M:
        async with reached(var) as peers:
            return await work(peers, request_id or SystemIds().new())

    answer = shell.run(run())
    if as_json:
        shell.write_json(json.dumps(json_format.MessageToDict(answer)))
    else:
        out.print(page(answer))


@app.command()
def transfer(
    from_member: Annotated[str, typer.Argument(help="Who gives.")],
    to_member: Annotated[str, typer.Argument(help="Who gets.")],
    points: Annotated[int, typer.Argument(help="How many points.", min=1)],
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    currency: Currency = "",
    reason: Reason = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Move points from one member to another; each lot keeps its end."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", request: str) -> pb.TransferPointsResponse:
        return await moving.answered(
            peers.points.TransferPoints(
                pb.TransferPointsRequest(
                    request_id=request,
                    program_id=program,
                    from_member_id=from_member,
                    to_member_id=to_member,
                    currency_id=currency,
                    points=points,
                    reason=reason,
                )
            )
        )

    def page(answer: pb.TransferPointsResponse) -> "RenderableType":
        return moving.transfer_page(answer.transfer)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def convert(
    member: Member,
    points: Annotated[int, typer.Argument(help="How many points are given up.", min=1)],
    from_currency: Annotated[str, typer.Option("--from", help="The currency that is given up.")],
    to_currency: Annotated[str, typer.Option("--to", help="The currency that is got.")],
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    reason: Reason = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Turn points of one currency into points of another, at the program's rate."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", request: str) -> pb.ConvertPointsResponse:
        return await moving.answered(
            peers.points.ConvertPoints(
                pb.ConvertPointsRequest(
                    request_id=request,
                    program_id=program,
                    member_id=member,
                    from_currency_id=from_currency,
                    to_currency_id=to_currency,
                    points=points,
                    reason=reason,
                )
            )
        )

    def page(answer: pb.ConvertPointsResponse) -> "RenderableType":
        return moving.conversion_page(answer.conversion)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def adjust(
    member: Member,
    reason: Reason,
    give: Annotated[int, typer.Option(help="Points to give.", min=0)] = 0,
    take: Annotated[int, typer.Option(help="Points to take.", min=0)] = 0,
    enroll: Annotated[
        bool, typer.Option("--enroll", help="Enrol the member if the program does not know it.")
    ] = False,
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    currency: Currency = "",
    actor: Actor = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Give or take points; above the program's limit it waits for somebody else."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    if bool(give) == bool(take):
        shell.fail("say how many points with --give or with --take")

    async def work(peers: "Peers", request: str) -> pb.AdjustPointsResponse:
        if enroll:
            await moving.enroll(peers, program, member, request)
        return await moving.answered(
            peers.points.AdjustPoints(
                pb.AdjustPointsRequest(
                    request_id=request,
                    program_id=program,
                    member_id=member,
                    currency_id=currency,
                    points=give - take,
                    actor=actor or getpass.getuser(),
                    reason=reason,
                )
            )
        )

    def page(answer: pb.AdjustPointsResponse) -> "RenderableType":
        return moving.adjusted(answer.adjustment)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def approve(
    adjustment: AdjustmentId,
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    actor: Actor = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Book an adjustment that waits; by somebody else than who asked for it."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", request: str) -> pb.ApproveAdjustmentResponse:
        return await moving.answered(
            peers.points.ApproveAdjustment(
                pb.ApproveAdjustmentRequest(
                    request_id=request,
                    program_id=program,
                    adjustment_id=adjustment,
                    actor=actor or getpass.getuser(),
                )
            )
        )

    def page(answer: pb.ApproveAdjustmentResponse) -> "RenderableType":
        return moving.adjusted(answer.adjustment)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def reject(
    adjustment: AdjustmentId,
    reason: Reason,
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    actor: Actor = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """End an adjustment that waits; nothing is booked."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", request: str) -> pb.RejectAdjustmentResponse:
        return await moving.answered(
            peers.points.RejectAdjustment(
                pb.RejectAdjustmentRequest(
                    request_id=request,
                    program_id=program,
                    adjustment_id=adjustment,
                    actor=actor or getpass.getuser(),
                    reason=reason,
                )
            )
        )

    def page(answer: pb.RejectAdjustmentResponse) -> "RenderableType":
        return moving.adjusted(answer.adjustment)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def adjustments(
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    all_of_them: Annotated[
        bool, typer.Option("--all", help="Also those that were booked or rejected.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the adjustments that wait for approval."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", _request: str) -> pb.ListAdjustmentsResponse:
        found = await moving.adjustments(peers, program, all_of_them=all_of_them)
        return pb.ListAdjustmentsResponse(adjustments=found)

    def page(answer: pb.ListAdjustmentsResponse) -> "RenderableType":
        return moving.adjustments_table(answer.adjustments)

    _done(var, work, page, as_json=as_json)


@app.command()
def extend(
    member: Member,
    until: Until,
    reason: Reason,
    lot: Lot = 0,
    before: Annotated[
        str, typer.Option(help="All lots that end before this instant, instead of one.")
    ] = "",
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    currency: Currency = "",
    actor: Actor = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Let points end later: those of one lot, or all that end before an instant."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    if bool(lot) == bool(before):
        shell.fail("say which points with --lot or with --before")

    async def work(peers: "Peers", request: str) -> pb.ExtendPointsResponse:
        asked = pb.ExtendPointsRequest(
            request_id=request,
            program_id=program,
            member_id=member,
            currency_id=currency,
            expire_time=await moving.end(peers, program, until),
            actor=actor or getpass.getuser(),
            reason=reason,
        )
        if lot:
            asked.lot_sequence = lot
        else:
            asked.expiring_before_time.MergeFrom(await moving.end(peers, program, before))
        return await moving.answered(peers.points.ExtendPoints(asked))

    def page(answer: pb.ExtendPointsResponse) -> "RenderableType":
        return moving.entries_page(answer.entries, has_more=answer.has_more)

    _done(var, work, page, request_id=request_id, as_json=as_json)


@app.command()
def reinstate(
    member: Member,
    lot: Lot,
    until: Until,
    reason: Reason,
    points: Annotated[int, typer.Option(help="How many; 0 for all that have ended.", min=0)] = 0,
    program: ProgramId = "giftshop",
    var: Var = Path("var"),
    currency: Currency = "",
    actor: Actor = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
) -> None:
    """Bring points back that have ended, with a new end."""
    from cli import points as moving
    from guerdon.earning.v1 import points_service_pb2 as pb

    async def work(peers: "Peers", request: str) -> pb.ReinstatePointsResponse:
        return await moving.answered(
            peers.points.ReinstatePoints(
                pb.ReinstatePointsRequest(
                    request_id=request,
                    program_id=program,
                    member_id=member,
                    currency_id=currency,
                    lot_sequence=lot,
                    points=points,
                    expire_time=await moving.end(peers, program, until),
                    actor=actor or getpass.getuser(),
                    reason=reason,
                )
            )
        )

    def page(answer: pb.ReinstatePointsResponse) -> "RenderableType":
        return moving.entries_page([answer.entry])

    _done(var, work, page, request_id=request_id, as_json=as_json)
