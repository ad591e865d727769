"""Several processes on one port: they share the work, do nothing twice, and end together."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from bench.scenarios import activity, apply_giftshop
from cli import cluster, workers
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from shared.rpc import client

ROOT = Path(__file__).resolve().parents[2]
CALLERS, ACTIVITIES, COPIES = 16, 100, 4


@contextmanager
def served(url: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Earning with two workers in processes of their own; gives the parent and the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "earning", "--workers", "2"],
        cwd=ROOT,
        env={
            **os.environ,
            "GUERDON_EARNING_DATABASE_URL": url,
            "GUERDON_EARNING_LISTEN": "127.0.0.1:0",
            "GUERDON_LOG_LEVEL": "warning",
            **settings,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = {process.stdout.readline().split()[-1] for _ in range(2)}
        assert len(said) == 1, "both listen on one port"
        yield process, said.pop()
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def callers_of(worker: psutil.Process, address: str) -> int:
    """How many connections a worker has on the port."""
    port = int(address.rpartition(":")[2])
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
        for each in worker.net_connections("tcp")
    )


async def test_two_workers_share_the_callers_and_credit_each_activity_once(
    postgres_url: str,
) -> None:
    with served(postgres_url) as (process, address):
        async with AsyncExitStack() as stack:
            stubs = [
                EarningServiceStub(await stack.enter_async_context(client.own_channel(address)))
                for _ in range(CALLERS)
            ]
            await apply_giftshop(stubs[0])
            answers = await asyncio.gather(
                *(
                    stubs[(number * COPIES + copy) % CALLERS].RecordActivity(
                        pb.RecordActivityRequest(program_id="giftshop", activity=activity(number))
                    )
                    for number in range(ACTIVITIES)
                    for copy in range(COPIES)
                )
            )
            assert {answer.record.points for answer in answers} == {42}
            assert all(callers_of(worker, address) for worker in children(process))
            wallets = await asyncio.gather(
                *(
                    stubs[0].GetWallet(
                        pb.GetWalletRequest(
                            program_id="giftshop", member_id=activity(number).member_id
                        )
                    )
                    for number in range(ACTIVITIES)
                )
            )
        assert [answer.wallet.points_available for answer in wallets] == [42] * ACTIVITIES


def test_when_a_worker_is_killed_all_end_and_it_is_said(postgres_url: str) -> None:
    with served(postgres_url) as (process, _):
        both = children(process)
        both[0].send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == 1
        assert not psutil.wait_procs(both, timeout=10)[1]


def test_workers_are_stopped_in_good_order(postgres_url: str) -> None:
    with served(postgres_url) as (process, _):
        both = children(process)
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert not psutil.wait_procs(both, timeout=10)[1]


def test_workers_end_with_a_parent_that_is_killed(postgres_url: str) -> None:
    with served(postgres_url) as (process, _):
        both = children(process)
        process.kill()
        process.wait(timeout=60)
        assert not psutil.wait_procs(both, timeout=10)[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"EARNING_DATABASE_URL": "sqlite:///x.db"}, "on SQLite, which has one writer: set"),
        ({"CLOCK": "simulated"}, "on the simulated clock, which stands in one process: set"),
        ({"EARNING_LISTEN": "127.0.0.1:{port}"}, "earning cannot listen on 127.0.0.1:{port}"),
        ({"EARNING_LISTEN": "127.0.0.1:http"}, "earning cannot listen on 127.0.0.1:http"),
    ],
    ids=["SQLite", "simulated clock", "port taken", "no port"],
)
async def test_what_workers_cannot_do_is_refused_before_any_starts(
    settings: Mapping[str, str], words: str
) -> None:
    with cluster.reserved_ports(["earning"]) as ports, _listening(ports["earning"]) as port:
        environment = {
            "GUERDON_EARNING_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
            "GUERDON_EARNING_LISTEN": "127.0.0.1:0",
            **{f"GUERDON_{name}": text.format(port=port) for name, text in settings.items()},
        }
        with pytest.raises(cluster.CannotStart) as refused:
            await workers.serve(["earning"], 2, environment)
    assert words.format(port=port) in str(refused.value)


@contextmanager
def _listening(port: int) -> Iterator[int]:
    """Somebody who shares the port, as workers do, and is asked by callers."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield port
