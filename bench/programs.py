"""Programs that the bench applies."""

import grpc

from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1 import program_pb2 as pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.feed.v1 import program_document_pb2 as document_pb


async def apply(channel: grpc.aio.Channel, program: pb.EarningProgram) -> None:
    """Put a program in force."""
    await EarningServiceStub(channel).ApplyEarningProgram(
        earning_pb.ApplyEarningProgramRequest(
            program=program, options=document_pb.ApplyOptions(author="bench")
        )
    )


def plain(program_id: str) -> pb.EarningProgram:
    """A point for each pound, and unknown members are enrolled."""
    return pb.EarningProgram(
        program_id=program_id,
        display_name="Bench",
        time_zone="UTC",
        currencies=[pb.PointCurrency(currency_id="points", display_name="Points")],
        money_currency_code="GBP",
        multiplier_policy=pb.MULTIPLIER_POLICY_MULTIPLY,
        rounding=pb.ROUNDING_FLOOR,
        reversal_policy=pb.REVERSAL_POLICY_ALLOW_DEBT,
        enroll_unknown_members=True,
        rules=[
            pb.EarningRule(
                rule_id="pounds",
                display_name="One point per pound",
                activity_types=["purchase"],
                base=pb.BasePoints(points=1, per_amount_minor=100),
            )
        ],
    )
