"""The whole road: the cluster's summary is that of a small sequential model, whatever happens."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import redis.asyncio

from cli import apply, cluster, demo, documents, quiescence, replay, retail, verify
from cli.peers import Peers, connected
from tests.demo.doubling import doubled
from tests.demo.giftshops import FILE, ROOT, comparable, modelled, part

SMALL = 40
KILLS_AT = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Shares of an undisturbed run's time after which runs are killed, one after the other."""


def command(var: Path, file: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "cli.main", "demo"),
        *("--var", str(var), "--file", str(file), "--json"),
    ]


def run_demo(var: Path, file: Path) -> Mapping[str, object]:
    done = subprocess.run(command(var, file), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    summary: Mapping[str, object] = json.loads(done.stdout)
    assert json.loads((var / "summary.json").read_text()) == summary
    return summary


async def run_in_process(
    var: Path, file: Path, *, every_day: Callable[[str, int], None], wrap: bool = False
) -> tuple[Mapping[str, object], int]:
    """Run the demo's steps here: its summary, and the number of violations."""
    invoices = retail.read(file)
    async with (
        cluster.running(var, clock_start=demo.CLOCK_START) as started,
        connected(started.addresses) as straight,
    ):
        peers: Peers = doubled(straight) if wrap else straight
        await apply.apply(peers, documents.load(ROOT / "programs" / demo.PROGRAM_ID), author="test")
        await replay.replay(
            peers,
            demo.PROGRAM_ID,
            invoices,
            errands=demo.errands(peers, invoices),
            on_day=lambda count: every_day(started.redis_url, count),
        )
        await quiescence.wait(peers)
        summary = await demo.summary(peers, invoices)
        violations = await verify.verify(peers)
    return summary, len(violations)


def test_the_real_file_gives_what_the_model_says_and_giving_it_again_changes_nothing(
    tmp_path: Path,
) -> None:
    first = run_demo(tmp_path / "var", FILE)
    assert comparable(first) == modelled(FILE)
    assert first["verify_violations"] == 0
    again = run_demo(tmp_path / "var", FILE)
    assert comparable(again) == comparable(first)


def test_runs_that_are_killed_at_any_moment_end_in_the_same_summary(tmp_path: Path) -> None:
    file = part(tmp_path / "part.csv", SMALL)
    began = time.monotonic()
    undisturbed = run_demo(tmp_path / "undisturbed", file)
    took = time.monotonic() - began
    var = tmp_path / "killed"
    kills = 0
    for share in KILLS_AT:
        process = subprocess.Popen(
            command(var, file), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=took * share)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    assert kills > 0
    survived = run_demo(var, file)
    assert comparable(survived) == comparable(undisturbed) == modelled(file)
    assert survived["verify_violations"] == 0


async def test_boards_that_are_flushed_again_and_again_rebuild_themselves(tmp_path: Path) -> None:
    file = part(tmp_path / "part.csv", SMALL)
    flushes = 0
    tasks: list[asyncio.Task[object]] = []

    async def flush(url: str) -> None:
        async with redis.asyncio.from_url(url) as server:
            await server.flushall()

    def every_day(url: str, _: int) -> None:
        nonlocal flushes
        flushes += 1
        if flushes % 7 == 0:
            tasks.append(asyncio.ensure_future(flush(url)))

    summary, violations = await run_in_process(tmp_path / "var", file, every_day=every_day)
    assert len(tasks) > 3
    assert summary == modelled(file)
    assert violations == 0


async def test_two_copies_of_every_request_give_equal_answers_and_the_same_summary(
    tmp_path: Path,
) -> None:
    file = part(tmp_path / "part.csv", SMALL)
    summary, violations = await run_in_process(
        tmp_path / "var", file, every_day=lambda _, __: None, wrap=True
    )
    assert summary == modelled(file)
    assert violations == 0


def test_a_broken_row_skips_its_invoice_and_is_reported_by_number(tmp_path: Path) -> None:
    file = part(tmp_path / "part.csv", 5)
    lines = file.read_text().splitlines()
    fields = lines[3].split(",")
    broken = ",".join([*fields[:-4], "many", *fields[-3:]])
    file.write_text("\n".join([*lines[:3], broken, *lines[4:]]) + "\n")
    done = subprocess.run(
        command(tmp_path / "var", file), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert comparable(json.loads(done.stdout)) == modelled(file)
    assert "4" in done.stderr.split()
    assert fields[1] in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a,b\n1,2\n", "the header must name InvoiceNo"),
        ("", "the header must name InvoiceNo"),
    ],
)
def test_a_file_of_another_kind_is_refused_whole(
    tmp_path: Path, content: str, complaint: str
) -> None:
    file = tmp_path / "other.csv"
    file.write_text(content)
    done = subprocess.run(
        command(tmp_path / "var", file), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
