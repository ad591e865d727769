"""One process with four services over a data folder: who may serve it, and how it is found."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from cli import cluster, peers, valkey
from guerdon.clock.v1 import clock_service_pb2 as clock_pb

ROOT = Path(__file__).resolve().parents[2]
START = "2010-12-01T00:00:00Z"


@contextmanager
def up(var: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """`guerdon up` in a process of its own, and what it printed when it served."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cli.main", "up", "--json", "--port", "0"),
            *("--var", str(var), "--clock-start", START),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


async def test_a_served_folder_is_found_and_is_not_served_twice(tmp_path: Path) -> None:
    var = tmp_path / "var"
    assert not cluster.is_served(var)
    async with cluster.running(var, clock_start=START) as started:
        assert cluster.is_served(var)
        assert cluster.addresses_of(var) == started.addresses
        assert sorted(started.addresses) == sorted(cluster.SERVICES)
        with pytest.raises(cluster.DataFolderInUse) as refused:
            async with cluster.running(var):
                pytest.fail("it was served twice")
        assert "stop it, or choose another folder with --var" in str(refused.value)
        assert str(var) in str(refused.value)
        with pytest.raises(cluster.DataFolderInUse):
            cluster.remove(var)
        assert cluster.is_served(var)
        async with peers.reached(var) as reached:
            assert reached.addresses == started.addresses
    assert not cluster.is_served(var)
    assert cluster.addresses_of(var) == {}


async def test_data_of_the_simulated_clock_stays_on_it(tmp_path: Path) -> None:
    async with peers.reached(tmp_path, clock_start=START) as reached:
        request = clock_pb.AdvanceClockRequest()
        request.to.FromJsonString("2011-03-01T00:00:00Z")
        await reached.clocks["tiers"].AdvanceClock(request)
    async with peers.reached(tmp_path) as reached:
        for service, now in (("tiers", "2011-03-01T00:00:00Z"), ("earning", START)):
            clock = await reached.clocks[service].GetClock(clock_pb.GetClockRequest())
            assert clock.simulated
            assert clock.now.ToJsonString() == now


def test_a_killed_cluster_leaves_nothing_that_keeps_the_next_from_starting(tmp_path: Path) -> None:
    with up(tmp_path) as (process, printed):
        assert printed["addresses"] == cluster.addresses_of(tmp_path)
        server = int((tmp_path / "valkey" / "valkey.pid").read_text())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    psutil.wait_procs([psutil.Process(server)] if psutil.pid_exists(server) else [], timeout=10)
    assert not psutil.pid_exists(server) or psutil.Process(server).status() == "zombie"
    assert cluster.addresses_of(tmp_path) == printed["addresses"], "nobody could take it along"
    assert not cluster.is_served(tmp_path)
    with up(tmp_path) as (process, again):
        assert again["addresses"] == cluster.addresses_of(tmp_path) != printed["addresses"]
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert cluster.addresses_of(tmp_path) == {}


def test_a_cluster_is_stopped_while_it_starts(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up", "--port", "0", "--var", str(tmp_path)], cwd=ROOT
    )
    pid_file = tmp_path / "valkey" / "valkey.pid"
    while not pid_file.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert not pid_file.exists() or not psutil.pid_exists(int(pid_file.read_text()))
    assert not cluster.is_served(tmp_path)


def test_a_server_left_behind_is_ended_before_the_next_opens_its_files(tmp_path: Path) -> None:
    left = valkey.start(tmp_path)
    assert left.process is not None
    after = valkey.start(tmp_path)
    try:
        assert left.process.wait(timeout=10) is not None
        assert after.url != left.url
    finally:
        after.stop()
        left.stop()


def test_a_process_that_only_inherited_the_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "valkey.pid").write_text(f"{stranger.pid}\n")
        server = valkey.start(tmp_path)
        try:
            assert stranger.poll() is None
        finally:
            server.stop()
            stranger.kill()


def test_a_server_that_is_given_is_used_and_not_stopped(tmp_path: Path) -> None:
    given = valkey.start(tmp_path / "data", url="redis://elsewhere:6379/0")
    given.stop()
    assert given.url == "redis://elsewhere:6379/0"
    assert not (tmp_path / "data").exists()


async def test_a_port_that_is_taken_is_told_with_the_service(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(cluster.CannotStart) as refused:
            async with cluster.running(tmp_path, ports={"earning": port}):
                pytest.fail("it took the port")
    assert f"earning cannot start: earning cannot listen on 127.0.0.1:{port}" in str(refused.value)
    assert not cluster.is_served(tmp_path)


def test_a_port_for_a_service_is_given_to_nobody_else_until_it_listens() -> None:
    with cluster.reserved_ports(["earning", "tiers"]) as ports, socket.socket() as stranger:
        assert len(set(ports.values())) == 2
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", ports["earning"]))
        with socket.socket() as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            ours.bind(("127.0.0.1", ports["earning"]))
            ours.listen()


async def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(cluster.CannotStart, match="cannot be the data folder"):
        async with cluster.running(file):
            pytest.fail("it served a file")
    assert not cluster.is_served(file)
    with pytest.raises(cluster.NotOurs):
        cluster.remove(file)
    assert file.read_text() == "mine"


def test_a_fresh_start_deletes_what_a_cluster_made_and_nothing_else(tmp_path: Path) -> None:
    var = tmp_path / "var"
    cluster.remove(var)
    for stranger in ("notes.txt", "earning.db.backup", "tiers.dbx"):
        var.mkdir()
        for name in ("earning.db", "earning.db-wal", "summary.json", "voucher.key", stranger):
            (var / name).touch()
        with pytest.raises(cluster.NotOurs) as refused:
            cluster.remove(var)
        assert stranger in str(refused.value)
        assert (var / "earning.db").exists()
        (var / stranger).unlink()
        cluster.remove(var)
        assert not var.exists()


async def test_every_file_that_a_cluster_makes_is_known_as_its_own(tmp_path: Path) -> None:
    var = tmp_path / "var"
    assert not cluster.has_data(var)
    async with cluster.running(var, clock_start=START):
        assert cluster.has_data(var)
        with closing(sqlite3.connect(var / "tiers.db")) as database:
            assert database.execute("select count(*) from members").fetchone() == (0,)
    cluster.remove(var)
    assert not var.exists()


def test_addresses_of_the_environment_count_when_all_four_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, service in enumerate(cluster.SERVICES):
        assert cluster.configured_addresses() == {}
        monkeypatch.setenv(f"GUERDON_{service.upper()}_ADDRESS", f"host:{number}")
    assert cluster.configured_addresses()["gamification"] == "host:3"
