"""The command itself, in a process of its own: clear lines, exit statuses, JSON."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from cli import apply, cluster, documents, main
from cli.peers import connected

ROOT = Path(__file__).resolve().parents[2]
GIFTSHOP = ROOT / "programs" / "giftshop"
HEADER = ",InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
Done = subprocess.CompletedProcess[str]


def guerdon(*arguments: object, **environment: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


async def beside(*arguments: object) -> Done:
    """The command in a process of its own, while this one goes on serving."""
    return await asyncio.to_thread(guerdon, *arguments)


async def at_once(*arguments: object) -> Done:
    """The command in a thread: for what ends before it calls anybody, and saves seconds."""
    given = [str(argument) for argument in arguments]
    done = await asyncio.to_thread(CliRunner().invoke, main.app, given)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return Done(given, done.exit_code, done.stdout, done.stderr)


def complaint(done: Done) -> str:
    """The one line that a failed command said, last; no traceback, nothing on standard output."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("guerdon: ")
    return last.removeprefix("guerdon: ")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A data folder that this process serves, on the simulated clock, with the gift shop."""
    var = tmp_path_factory.mktemp("served") / "var"
    async with (
        cluster.running(var, clock_start="2010-12-01T00:00:00Z") as started,
        connected(started.addresses) as peers,
    ):
        await apply.apply(peers, documents.load(GIFTSHOP), author="test")
        yield var


def renamed(folder: Path, program: str) -> Path:
    """The gift shop's files as those of another program."""
    folder.mkdir()
    for file in GIFTSHOP.glob("*.yaml"):
        text = file.read_text().replace("program_id: giftshop", f"program_id: {program}")
        (folder / file.name).write_text(text)
    return folder


def test_it_says_what_it_can_do() -> None:
    done = guerdon("--help")
    assert done.returncode == 0
    for command in ("up", "serve", "apply", "replay", "demo", "verify"):
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE), command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--var", "{folder}"), "there is no data in {folder}: name its folder with"),
        (("verify", "--var", "{folder}/none"), "there is no data in {folder}/none"),
        (("serve", "earth"), "no service is called earth; there are earning, tiers, redemption"),
        (("up", "--var", "{folder}/file"), "{folder}/file cannot be the data folder: File exists"),
        (
            ("up", "--var", "{folder}/a", "--clock-start", "noon"),
            "earning cannot start: GUERDON_CLOCK_START='noon' is no ISO instant",
        ),
        (
            ("replay", "{folder}/file", "--var", "{folder}/b"),
            "{folder}/file: the header must name InvoiceNo, StockCode",
        ),
        (
            ("demo", "--file", "{folder}/file", "--var", "{folder}/c", "--json"),
            "{folder}/file: the header must name InvoiceNo, StockCode",
        ),
        (
            ("demo", "--fresh", "--var", "{folder}"),
            "{folder} holds what no cluster made (file): nothing is deleted",
        ),
        (
            ("apply", "{folder}/[/none]", "--var", "{folder}/d"),
            "nothing was applied: 1 complaint(s)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_a_user_can_mend_is_one_line_and_status_1(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").write_text("mine\n")
    done = await at_once(*(argument.format(folder=tmp_path) for argument in arguments))
    assert complaint(done).startswith(words.format(folder=tmp_path))
    assert (tmp_path / "file").read_text() == "mine\n"


def test_a_process_of_its_own_ends_in_one_line_too(tmp_path: Path) -> None:
    assert complaint(guerdon("verify", "--var", tmp_path)).startswith("there is no data in")


def test_a_setting_that_nobody_knows_is_told_with_those_that_are_known() -> None:
    said = complaint(guerdon("serve", "tiers", GUERDON_TIERS_LISTNE="127.0.0.1:1"))
    assert said.startswith("tiers cannot start: GUERDON_TIERS_LISTNE is no setting of tiers")
    assert "GUERDON_TIERS_LISTEN" in said


def test_a_cluster_elsewhere_that_does_not_answer_is_told() -> None:
    places = {f"GUERDON_{name.upper()}_ADDRESS": "127.0.0.1:9" for name in cluster.SERVICES}
    assert complaint(guerdon("verify", **places)).startswith("UNAVAILABLE: ")


async def test_an_applied_program_does_not_differ_any_more(served: Path, tmp_path: Path) -> None:
    folder = renamed(tmp_path / "new", "newshop")
    planned = await beside("apply", folder, "--var", served, "--dry-run", "--json")
    assert [(each["service"], each["version"]) for each in json.loads(planned.stdout)] == [
        ("earning", 0),
        ("tiers", 0),
        ("redemption", 0),
        ("gamification", 0),
    ]
    assert all(each["differences"] for each in json.loads(planned.stdout))
    first = await beside("apply", folder, "--var", served, "--json")
    assert [each["version"] for each in json.loads(first.stdout)] == [1] * 4
    second = await beside("apply", folder, "--var", served)
    assert second.returncode == 0, second.stderr
    assert "Nothing differs from what is in force." in second.stdout
    assert [line.split()[1:] for line in second.stdout.splitlines() if "tiers" in line] == [
        ["1", "0"]
    ]


async def test_an_unknown_field_in_a_condition_is_told_with_its_place_and_nothing_is_applied(
    served: Path, tmp_path: Path
) -> None:
    right, wrong = renamed(tmp_path / "right", "other"), renamed(tmp_path / "wrong", "other")
    text = (right / "earning.yaml").read_text()
    line = text[: text.index("line.category")].count("\n") + 1
    (wrong / "earning.yaml").write_text(text.replace("line.category", "line.colour", 1))
    done = await beside("apply", wrong, "--var", served)
    assert complaint(done) == "nothing was applied: 1 complaint(s)"
    (told,) = done.stderr.splitlines()[:-1]
    assert told.startswith(f"{wrong}/earning.yaml:{line}: rules[0].line_condition: ")
    assert "colour" in told
    planned = await beside("apply", right, "--var", served, "--dry-run", "--json")
    assert [each["version"] for each in json.loads(planned.stdout)] == [0] * 4


async def test_a_replay_is_counted_in_json_and_names_its_broken_rows(
    served: Path, tmp_path: Path
) -> None:
    file = tmp_path / "invoices.csv"
    good, other = "85123A,T-LIGHT,6,12/1/2010 8:26,2.55,17850,UK", "22222,X,1,12/1/2010 9:00,1,5,UK"
    broken = other.replace(",1,", ",one,", 1)
    file.write_text(f"{HEADER}1,536365,{good}\n2,536366,{other}\n3,536366,{broken}\n")
    done = await beside("replay", file, "--var", served, "--json")
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert (counted["purchases"], counted["returns"], counted["skipped_lines"]) == (1, 0, 0)
    (row,) = counted["broken_rows"]
    assert (row["line"], row["invoice"]) == (4, "536366")
    verified = await beside("verify", "--var", served, "--json")
    assert (verified.returncode, json.loads(verified.stdout)) == (0, [])


async def test_a_replay_of_an_unknown_program_is_refused_by_name(
    served: Path, tmp_path: Path
) -> None:
    file = tmp_path / "invoices.csv"
    file.write_text(f"{HEADER}1,1,85123A,T-LIGHT,6,12/1/2010 8:26,2.55,17850,UK\n")
    done = await beside("replay", file, "--var", served, "--program", "nope", "--json")
    assert "1 documents were refused" in complaint(done)
    assert "1: PROGRAM_NOT_FOUND: no program nope" in done.stderr.splitlines()


async def test_a_replay_needs_the_simulated_clock_and_says_how_to_get_it(tmp_path: Path) -> None:
    file = tmp_path / "invoices.csv"
    file.write_text(f"{HEADER}1,1,85123A,T-LIGHT,6,12/1/2010 8:26,2.55,17850,UK\n")
    async with cluster.running(tmp_path / "var"):
        done = await beside("replay", file, "--var", tmp_path / "var", "--json")
    assert "start it with `guerdon up --clock-start" in complaint(done)


async def test_a_folder_that_is_served_is_not_served_again(served: Path) -> None:
    said = complaint(await at_once("up", "--var", served, "--port", "0", "--json"))
    assert said.startswith(f"{served} is served by another process: use it")
    fresh = complaint(await at_once("demo", "--fresh", "--var", served, "--json"))
    assert fresh.startswith(f"{served} is served by another process")
    assert (served / "earning.db").exists()
