"""One million members and ten million entries: what RecordActivity takes beside an empty ledger.

The history is written by the database itself, chunk by chunk: credits whose hash chains verify.
"""
# ruff: noqa: S608 - the text is made of this module's own constants; values are parameters

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import sqlalchemy as sa

from bench import programs
from bench.load import Load, Prepared, closed_loop
from bench.report import Figure
from bench.scenarios import NOW, middle, serve
from bench.servers import Server, postgres
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from services.earning import ledger, tables
from services.earning.domain import CurrencyId, EntryType, MemberKey, ProgramId, Wallet
from services.earning.expiry import plain
from services.earning.ledger import Cause
from shared.clock import monotonic
from shared.database import Database
from shared.rpc import client

PROGRAM_ID = ProgramId("large")
POINTS = CurrencyId("points")
MEMBERS, ENTRIES_EACH = 1_000_000, 10
FEW_MEMBERS = 10_000
CALLERS, ROUNDS, ROUND_SECONDS = 8, 5, 5.0
_CALLS_MAX = 15_000
_CHUNK = 2_000
_CREDITED = 10
_MICROS = ledger.micros(NOW)

# The credits of one member: the canonical text of `ledger.canonical_text`, hashed in a chain.
_CHAIN = f"""
CREATE FUNCTION pg_temp.chain(member_key text, entries int)
RETURNS TABLE (sequence int, chain_hash bytea) LANGUAGE plpgsql AS $$
BEGIN
  chain_hash := ''::bytea;
  FOR n IN 1..entries LOOP
    sequence := n;
    chain_hash := sha256(chain_hash || convert_to(
      '["{PROGRAM_ID}","' || member_key || '","{POINTS}",' || n || ',"credit",{_CREDITED},0,0,0,'
      || '"issuance",-{_CREDITED},' || n * {_CREDITED} || ',"","' || member_key || '-' || n
      || '","bench",{_MICROS},{_MICROS},"",' || n || ',{_MICROS},null,null,[]]', 'UTF8'));
    RETURN NEXT;
  END LOOP;
END $$"""
_KEYS = """
CREATE TEMPORARY TABLE filling AS
SELECT number, md5('member-' || number) AS member_key,
  row_number() OVER (ORDER BY md5('member-' || number)) AS place
FROM generate_series(0, CAST(:members AS integer) - 1) AS number"""
_CHUNK_OF = (
    "FROM filling AS f WHERE f.place > CAST(:after AS bigint) AND f.place <= CAST(:upto AS bigint)"
)
_BY_MEMBER = (
    f"""INSERT INTO members (program_id, member_key, enroll_time, state, is_anonymous, merged_into,
  version, is_scrub_due)
SELECT '{PROGRAM_ID}', f.member_key, {_MICROS}, 'active', 0, '', 1, 0 {_CHUNK_OF}""",
    f"""INSERT INTO member_identifiers (program_id, identifier, kind, member_key, assign_time)
SELECT '{PROGRAM_ID}', 'member-' || f.number, 'member_id', f.member_key, {_MICROS} {_CHUNK_OF}""",
)
_ENTRIES = f"""
WITH made AS (
  INSERT INTO entries (program_id, member_key, currency_id, sequence, type, available_delta,
    pending_delta, held_delta, debt_delta, program_account, program_delta, available_after,
    activity_id, reference, reason, occurred_time, create_time, explanation, chain_hash,
    lot_sequence, lot_available_time)
  SELECT '{PROGRAM_ID}', f.member_key, '{POINTS}', c.sequence, 'credit', {_CREDITED}, 0, 0, 0,
    'issuance', -{_CREDITED}, c.sequence * {_CREDITED}, '', f.member_key || '-' || c.sequence,
    'bench', {_MICROS}, {_MICROS}, '', c.chain_hash, c.sequence, {_MICROS}
  FROM filling AS f CROSS JOIN LATERAL pg_temp.chain(f.member_key, CAST(:entries AS integer)) AS c
  WHERE f.place > CAST(:after AS bigint) AND f.place <= CAST(:upto AS bigint)
  RETURNING member_key, sequence, chain_hash, reference
), keys AS (
  INSERT INTO request_keys (program_id, scope, request_id, digest, answer)
  SELECT '{PROGRAM_ID}', 'credit_points', reference, md5(reference), 'null' FROM made
), lots AS (
  INSERT INTO lots (program_id, member_key, currency_id, lot_sequence, amount, remaining, is_open,
    available_time, activity_id, is_pending, is_sliding)
  SELECT '{PROGRAM_ID}', member_key, '{POINTS}', sequence, {_CREDITED}, {_CREDITED}, 1, {_MICROS},
    '', 0, 0 FROM made
)
INSERT INTO wallets (program_id, member_key, currency_id, available, pending, held, debt, earned,
  spent, expired, reversed, sequence, chain_hash, frozen)
SELECT '{PROGRAM_ID}', member_key, '{POINTS}', CAST(:entries AS integer) * {_CREDITED}, 0, 0, 0,
  CAST(:entries AS integer) * {_CREDITED}, 0, 0, 0, CAST(:entries AS integer), chain_hash, 0
FROM made WHERE sequence = CAST(:entries AS integer)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ledger:
    """A served ledger of so many members."""

    channel: grpc.aio.Channel
    server: Server
    members: int


async def large_figures() -> list[Figure]:
    """RecordActivity's latency on a large ledger and on an almost empty one, in turns."""
    rounds: list[tuple[Load, Load]] = []
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        servers: list[Server] = []
        took = 0.0
        for name, members, entries in (
            ("bench_few", FEW_MEMBERS, 1),
            ("bench_large", MEMBERS, ENTRIES_EACH),
        ):
            url = database.create(name)
            server = serve(stack, "earning", url, {})
            async with client.channel(server.address) as channel:
                await programs.apply(channel, programs.plain(PROGRAM_ID))
            began = monotonic()
            await fill(url, members, entries)
            took = monotonic() - began
            servers.append(server)
        memory = [servers[1].megabytes()]
        async with (
            client.channel(servers[0].address) as few,
            client.channel(servers[1].address) as many,
        ):
            for number in range(ROUNDS):
                small = _Ledger(channel=few, server=servers[0], members=FEW_MEMBERS)
                large = _Ledger(channel=many, server=servers[1], members=MEMBERS)
                floor = await _unary(small, number)
                rounds.append((await _unary(large, number), floor))
                memory.append(servers[1].megabytes())
    load, floor = middle(rounds, lambda pair: pair[0].percentile(0.5) / pair[1].percentile(0.5))
    tails = sorted(pair[0].percentile(0.99) / pair[1].percentile(0.99) for pair in rounds)
    return [
        Figure(
            scenario="unary_at_10m",
            value=load.percentile(0.5) * 1000,
            unit="ms",
            floor=floor.percentile(0.5) * 1000,
            floor_is="ms beside an empty ledger",
            server_cpu_us_per_call=load.server_cpu_us_per_call,
            target="≤ 1.3",
            notes=f"median latency of RecordActivity, {CALLERS} callers, {MEMBERS:,} members, "
            f"{MEMBERS * ENTRIES_EACH:,} entries (written in {took:.0f} s); ratio of p99 "
            f"{tails[len(tails) // 2]:.2f}; server memory {_megabytes(memory)} MB",
        )
    ]


async def fill(url: str, members: int, entries: int) -> None:
    """Write members with so many credits each; raises ValueError when a chain does not verify."""
    database = await Database.open(url, schema="earning")
    try:
        async with database.transaction() as tx:
            # One session for all: the keys in their order, so that indexes grow at their end.
            await tx.execute(sa.text(_CHAIN))
            await tx.execute(sa.text(_KEYS), {"members": members})
            await tx.execute(sa.text("CREATE UNIQUE INDEX ON filling (place)"))
            for after in range(0, members, _CHUNK):
                chunk = {"after": after, "upto": after + _CHUNK}
                for statement in _BY_MEMBER:
                    await tx.execute(sa.text(statement), chunk)
                await tx.execute(sa.text(_ENTRIES), {**chunk, "entries": entries})
        async with database.transaction() as tx:
            await tx.execute(sa.text("SET LOCAL statement_timeout = 0"))
            await tx.execute(sa.text("ANALYZE"))
        await _check(database, entries)
    finally:
        await database.dispose()


async def _check(database: Database, entries: int) -> None:
    """Compare some wallets with what the ledger itself makes of the same credits."""
    async with database.reading() as tx:
        for row in await tx.fetch(tables.wallets.select().limit(20)):
            wallet = Wallet(
                program_id=PROGRAM_ID,
                member_key=MemberKey(str(row.member_key)),
                currency_id=POINTS,
            )
            for number in range(1, entries + 1):
                cause = Cause(
                    now=NOW,
                    occurred_time=NOW,
                    reference=f"{row.member_key}-{number}",
                    reason="bench",
                )
                policy = plain(POINTS)
                made = ledger.credit(wallet, _CREDITED, EntryType.CREDIT, cause, policy)
                wallet = made.wallet
            if (row.chain_hash, row.available) != (wallet.chain_hash, wallet.available):
                raise ValueError(f"the history of {row.member_key} does not verify")


async def _unary(large: _Ledger, number: int) -> Load:
    calls = Prepared(
        [large.channel],
        "/guerdon.earning.v1.EarningService/RecordActivity",
        [
            earning_pb.RecordActivityRequest(
                program_id=PROGRAM_ID,
                activity=_activity(number * _CALLS_MAX + each, large.members),
            )
            for each in range(_CALLS_MAX)
        ],
    )
    await asyncio.sleep(1)  # what the database writes back meanwhile is nobody's latency
    return await closed_loop(
        calls.send, callers=CALLERS, seconds=ROUND_SECONDS, server=large.server
    )


def _activity(number: int, members: int) -> activity_pb2.Activity:
    made = activity_pb2.Activity(
        activity_id=f"large-{number}",
        member_id=f"member-{number * 7919 % members}",
        type="purchase",
        payment=activity_pb2.Payment(amount_minor=4_250, currency_code="GBP"),
    )
    made.occurred_time.FromDatetime(NOW)
    return made


def _megabytes(memory: Sequence[float]) -> str:
    return ", ".join(f"{each:.0f}" for each in memory)
