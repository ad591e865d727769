"""Protobuf forms of seals and proofs."""

from guerdon.earning.v1 import seal_pb2
from services.earning.queries_seals import Proof
from services.earning.seals import Seal


def seal_to_proto(seal: Seal) -> seal_pb2.Seal:
    """A seal as callers see it."""
    made = seal_pb2.Seal(
        program_id=seal.program_id,
        day=seal.day.isoformat(),
        time_zone=seal.time_zone,
        root=seal.root,
        wallets=seal.wallets,
        entries=seal.entries,
        previous_hash=seal.previous_hash,
        seal_hash=seal.seal_hash,
    )
    made.end_time.FromDatetime(seal.end_time)
    made.seal_time.FromDatetime(seal.seal_time)
    for currency_id in sorted(seal.totals):
        wallets, entries, available, pending, held, debt = seal.totals[currency_id]
        made.points.add(
            currency_id=currency_id,
            wallets=wallets,
            entries=entries,
            points_available=available,
            points_pending=pending,
            points_held=held,
            points_debt=debt,
        )
    return made


def proof_to_proto(proof: Proof) -> seal_pb2.WalletProof:
    """A proof as callers see it."""
    return seal_pb2.WalletProof(
        seal=seal_to_proto(proof.seal),
        member_key=proof.leaf.member_key,
        currency_id=proof.leaf.currency_id,
        sequence=proof.leaf.sequence,
        chain_hash=proof.leaf.chain_hash,
        steps=[seal_pb2.ProofStep(hash=hashed, is_left=is_left) for is_left, hashed in proof.steps],
    )
