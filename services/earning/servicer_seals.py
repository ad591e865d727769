"""Seals, as callers see them: protobuf in, protobuf out."""

from guerdon.earning.v1 import seal_service_pb2 as pb
from guerdon.earning.v1 import seal_service_pb2_grpc as pb_grpc
from services.earning import wire_seals
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.queries_seals import SealQueries
from shared.rpc.interceptors import Context

NAME = "guerdon.earning.v1.SealService"


class SealServicer(pb_grpc.SealServiceServicer):
    """Serves seals and proofs."""

    def __init__(self, queries: SealQueries) -> None:
        self._queries = queries

    async def ListSeals(
        self, request: pb.ListSealsRequest, context: Context
    ) -> pb.ListSealsResponse:
        """List the seals of a program."""
        del context
        page = await self._queries.page(
            ProgramId(request.program_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSealsResponse(
            seals=[wire_seals.seal_to_proto(each) for each in page.seals],
            next_page_token=page.next_page_token,
        )

    async def GetSeal(self, request: pb.GetSealRequest, context: Context) -> pb.GetSealResponse:
        """Give the seal of a day."""
        del context
        seal = await self._queries.seal(ProgramId(request.program_id), request.day)
        return pb.GetSealResponse(seal=wire_seals.seal_to_proto(seal))

    async def ProveWallet(
        self, request: pb.ProveWalletRequest, context: Context
    ) -> pb.ProveWalletResponse:
        """Prove that a wallet is in the seal of a day."""
        del context
        proof = await self._queries.proof(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            CurrencyId(request.currency_id),
            request.day,
        )
        return pb.ProveWalletResponse(proof=wire_seals.proof_to_proto(proof))
