"""Versions, rollbacks, files, previews and explanations, through the command."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from cli import apply, cluster, documents, instants, programs
from cli.peers import Peers, connected
from guerdon.earning.v1 import activity_pb2, earning_service_pb2, points_service_pb2
from guerdon.gamification.v1.program_pb2 import GamificationProgram
from guerdon.redemption.v1.reward_pb2 import RedemptionProgram

ROOT = Path(__file__).resolve().parents[2]
GIFTSHOP = ROOT / "programs" / "giftshop"
ACTIVITIES = """
- activity_id: a1
  member_id: ann
  type: purchase
  source: till
  occurred_time: 2026-12-19T10:00:00Z
  payment: {amount_minor: 12345, currency_code: GBP}
  lines: [{sku: "85123A", category: product, quantity: 2, amount_minor: 12345}]
- activity_id: a2
  member_id: bob
  type: purchase
  source: till
  occurred_time: 2026-12-19T10:00:00Z
  payment: {amount_minor: 100, currency_code: EUR}
  lines: [{sku: "85123A", category: product, quantity: 1, amount_minor: 100}]
"""
Done = subprocess.CompletedProcess[str]


async def guerdon(*arguments: object, columns: int = 80) -> Done:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": str(columns)},
    )


async def asked(*arguments: object) -> object:
    """The JSON that a command answers."""
    done = await guerdon(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def refused(*arguments: object) -> str:
    done = await guerdon(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line.removeprefix("guerdon: ")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, Peers]]:
    """A data folder that this process serves, on the simulated clock, with the gift shop."""
    var = tmp_path_factory.mktemp("programs") / "var"
    async with (
        cluster.running(var, clock_start="2026-12-20T00:00:00Z") as started,
        connected(started.addresses) as made,
    ):
        await apply.apply(made, documents.load(GIFTSHOP), author="ann")
        yield var, made


def doubled(folder: Path, program: str = "giftshop") -> Path:
    """The gift shop's files with two points per pound."""
    folder.mkdir()
    for file in GIFTSHOP.glob("*.yaml"):
        text = file.read_text().replace("program_id: giftshop", f"program_id: {program}")
        if file.stem == "earning":
            assert "points: 1," in text
            text = text.replace("points: 1,", "points: 2,")
        (folder / file.name).write_text(text)
    return folder


async def test_what_is_exported_is_applied_without_a_difference(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    await asked("export", "giftshop", tmp_path / "out", "--var", var)
    exported = documents.load(tmp_path / "out")
    assert [each.message for each in exported] == [
        each.message for each in documents.load(GIFTSHOP)
    ]
    planned = await asked("apply", tmp_path / "out", "--var", var, "--dry-run")
    assert isinstance(planned, list)
    assert [each["differences"] for each in planned] == [[]] * 4


async def test_an_export_does_not_write_over_files_that_differ(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    (tmp_path / "tiers.yaml").write_text("mine\n")
    said = await refused("export", "giftshop", tmp_path, "--var", peers[0])
    assert said == f"{tmp_path} holds tiers.yaml already: say --overwrite, or name another folder"
    with pytest.raises(documents.BadDocuments, match=r"tiers\.yaml:1"):  # alone, and as it was
        documents.load(tmp_path)
    await asked("export", "giftshop", tmp_path, "--var", peers[0], "--overwrite")
    assert len(documents.load(tmp_path)) == 4


@pytest.mark.parametrize(
    "document",
    [
        GamificationProgram(),
        RedemptionProgram(program_id="007", cancel_window_seconds=60),
        activity_pb2.Activity(
            type="yes",
            occurred_time=instants.stamp(datetime(2026, 2, 3, tzinfo=UTC)),
            attributes={
                "b": activity_pb2.AttributeValue(integer_value=0),
                "a: #": activity_pb2.AttributeValue(string_value="null"),
            },
            lines=[activity_pb2.LineItem(quantity=2**53 + 1)],
        ),
    ],
    ids=lambda each: each.DESCRIPTOR.name,
)
def test_any_message_is_read_back_from_its_file(document: Message, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(programs.as_yaml(document), encoding="utf-8")
    assert documents.messages(file, type(document)) == [document]


async def test_an_apply_for_a_set_time_is_listed_as_scheduled_and_cancelled(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    folder = doubled(tmp_path / "later", "later")
    await asked("apply", folder, "--var", var)
    text = (folder / "earning.yaml").read_text()
    (folder / "earning.yaml").write_text(text.replace("points: 2,", "points: 3,"))
    shown = await guerdon("apply", folder, "--var", var, "--publish-at", "2026-12-24T00:00")
    assert "2 from 2026-12-24 00:00 UTC" in shown.stdout
    found = await asked("versions", "later", "--var", var)
    assert isinstance(found, dict)
    listed = [(each["version"], each["state"]) for each in found["earning"]]
    assert listed == [(2, "STATE_SCHEDULED"), (1, "STATE_IN_FORCE")]
    assert found["earning"][0]["publishTime"] == "2026-12-24T00:00:00Z"
    page = (await guerdon("versions", "later", "--var", var)).stdout
    assert [line.split()[:3] for line in page.splitlines() if "scheduled" in line] == [
        ["earning", "2", "scheduled"]
    ]
    assert max(map(len, page.splitlines())) <= 80
    late = await guerdon("apply", folder, "--var", var)
    assert late.stderr.startswith("guerdon: PUBLICATION_SCHEDULED: version 2 of program later")
    await asked("apply", folder, "--var", var, "--cancel-scheduled")
    found = await asked("versions", "later", "--var", var)
    assert isinstance(found, dict)
    assert [each["state"] for each in found["earning"]] == ["STATE_IN_FORCE", "STATE_PAST"]


async def test_who_would_replace_what_a_colleague_has_scheduled_is_told_of_it(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    folder = doubled(tmp_path / "shared", "shared")
    await asked("apply", folder, "--var", var)
    text = (folder / "earning.yaml").read_text()
    (folder / "earning.yaml").write_text(text.replace("points: 2,", "points: 3,"))
    order = ("apply", folder, "--var", var, "--author")
    first = await guerdon(*order, "maya", "--publish-at", "2098-12-24T00:00")
    assert "is scheduled for" not in first.stdout
    told = "Version 2 of earning, by maya, is scheduled for 2098-12-24 00:00 UTC."
    assert told in (await guerdon(*order, "ben", "--dry-run")).stdout
    later = await guerdon(*order, "ben", "--publish-at", "2099-12-24T00:00")
    assert told in later.stdout
    assert "2 from 2099-12-24 00:00 UTC" in later.stdout
    back = ("rollback", "shared", "--service", "earning", "--to", 1, "--var", var)
    dropped = await guerdon(*back, "--cancel-scheduled")
    assert "Nothing differs from what is in force." in dropped.stdout
    assert "Version 1 of earning is in force" in dropped.stdout
    found = await asked("versions", "shared", "--var", var)
    assert isinstance(found, dict)
    assert [each["state"] for each in found["earning"]] == ["STATE_IN_FORCE"]


async def test_a_level_that_the_tiers_in_force_do_not_have_is_told(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    folder = doubled(tmp_path / "levels", "levels")
    await asked("apply", folder, "--var", var)
    (folder / "tiers.yaml").unlink()
    text = (folder / "earning.yaml").read_text()
    (folder / "earning.yaml").write_text(text.replace('tier == "gold"', 'tier == "glod"'))
    done = await guerdon("apply", folder, "--var", var, "--dry-run", columns=200)
    assert done.returncode == 1
    told = "rules[2].condition: the tiers in force have no level glod; did you mean 'gold'?"
    assert told in done.stderr


async def test_base_rules_that_add_up_are_told_and_applied(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    folder = doubled(tmp_path / "twice", "twice")
    more = """
  - {rule_id: all, base: {points: 1, per_amount_minor: 500}}
  - {rule_id: tea, categories: [tea], base: {points: 1, per_amount_minor: 100}}
"""
    text = (folder / "earning.yaml").read_text()
    (folder / "earning.yaml").write_text(text.rstrip() + more)
    told = "Rules all and tea both give"
    done = await guerdon("apply", folder, "--var", var, "--dry-run", columns=200)
    assert told in done.stdout
    done = await guerdon("apply", folder, "--var", var, columns=200)
    assert done.returncode == 0
    assert told in done.stdout


async def test_a_program_that_not_every_service_has_is_verified_alone(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, _ = peers
    folder = doubled(tmp_path / "alone", "alone")
    for file in folder.glob("*.yaml"):
        if file.stem != "earning":
            file.unlink()
    text = (folder / "earning.yaml").read_text()
    ladder = [line for line in text.splitlines() if line.startswith("tier_ladder_id")]
    (folder / "earning.yaml").write_text(text.replace("".join(ladder), ""))
    await asked("apply", folder, "--var", var)
    done = await guerdon("verify", "--program", "alone", "--var", var)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Verified: nothing is violated.\n"
    nobody = await guerdon("verify", "--program", "nope", "--var", var)
    assert nobody.returncode == 1
    assert nobody.stderr.endswith("guerdon: PROGRAM_NOT_FOUND: no program nope\n")


async def test_a_rollback_shows_what_it_changes_and_brings_the_old_version_back(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, made = peers
    folder = doubled(tmp_path / "back", "back")
    await asked("apply", folder, "--var", var)
    text = (folder / "earning.yaml").read_text()
    (folder / "earning.yaml").write_text(text.replace("points: 2,", "points: 3,"))
    await asked("apply", folder, "--var", var)
    order = ("rollback", "back", "--service", "earning", "--to", 1, "--var", var)
    dry = await guerdon(*order, "--dry-run")
    assert "Version 2 of earning stays in force" in dry.stdout
    done = await guerdon(*order, "--author", "bob")
    assert "rules[goods].base.points   3        2" in done.stdout
    assert "Version 3 of earning is in force; it says what 1 said." in done.stdout
    newest = (await programs.versions(made, "back"))["earning"][0]
    assert (newest.version, newest.author) == (3, "bob")


async def test_a_preview_tells_of_every_rule_why_it_counts_or_not(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    file = tmp_path / "activities.yaml"
    file.write_text(ACTIVITIES)
    done = await guerdon("preview", "giftshop", file, "--var", peers[0])
    assert done.returncode == 1, done.stderr
    assert "a1: purchase of ann would earn 123 points" in done.stdout
    rows = {
        line.split()[1]: line
        for line in done.stdout.splitlines()
        if line.lstrip()[:1] in {"✓", "·"}
    }
    assert list(rows) == ["goods", "silver", "gold"]
    assert "123" in rows["goods"]
    assert "the condition is false" in rows["gold"]
    assert "a2: purchase of bob would be refused: CURRENCY_NOT_ACCEPTED" in done.stdout
    answer = await guerdon("preview", "giftshop", file, "--var", peers[0], "--json")
    first, second = json.loads(answer.stdout)
    assert first["points"] == "123"
    assert second["refused"]["reason"] == "CURRENCY_NOT_ACCEPTED"


CAPPED = """\
program_id: capped
time_zone: Asia/Shanghai
currencies: [{currency_id: leaves}]
money_currency_code: CNY
multiplier_policy: MULTIPLIER_POLICY_MULTIPLY
enroll_unknown_members: true
caps: [{cap_id: order, period: PERIOD_ACTIVITY, points: 300}]
rules:
  - rule_id: yuan
    base: {points: 1, per_amount_minor: 100}
  - rule_id: double
    multiplier: {numerator: 2, denominator: 1}
  - rule_id: party
    condition: activity.attributes["guests"].integer_value > 4
    bonus: {points: 50}
"""
ORDER = """\
- activity_id: a1
  member_id: ann
  type: purchase
  source: shop
  occurred_time: 2026-07-01T12:00:00+08:00
  payment: {amount_minor: 20000, currency_code: CNY}
"""


async def test_a_preview_says_what_each_rule_brings_what_a_cap_cuts_and_what_fails(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    (tmp_path / "earning.yaml").write_text(CAPPED)
    order = tmp_path / "order" / "order.yaml"
    order.parent.mkdir()
    order.write_text(ORDER)
    applied = await guerdon("apply", tmp_path, "--var", peers[0])
    assert applied.returncode == 0, applied.stderr
    done = await guerdon("preview", "capped", order, "--var", peers[0])
    assert "a1: purchase of ann would earn 300 leaves" in done.stdout
    assert "points wanted 400" in done.stdout
    assert "cap order of activity: 300 of 300 points that were left; what is above" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.lstrip()[:1] in {"✓", "·"}]
    # The cap takes from both alike: 200 and 200 become 150 and 150.
    assert [row[:3] for row in rows[:1]] == [["✓", "yuan", "150"]]
    assert rows[1][:4] == ["✓", "double", "x2", "150"]
    assert rows[2][:2] == ["·", "party"]
    assert "failed" in done.stdout


async def test_a_wrong_activity_is_told_with_its_line_and_nothing_is_asked(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    file = tmp_path / "activities.json"
    file.write_text('{"activity_id": "a",\n "colour": 1}')
    done = await guerdon("preview", "giftshop", file, "--var", peers[0])
    told, last = done.stderr.splitlines()
    assert told.startswith(f"{file}:2: colour: Activity has no field 'colour'")
    assert last == "guerdon: nothing was previewed: 1 complaint(s)"


async def test_a_booked_entry_is_explained_by_its_rules(
    peers: tuple[Path, Peers], tmp_path: Path
) -> None:
    var, made = peers
    file = tmp_path / "activities.yaml"
    file.write_text(ACTIVITIES)
    activity = documents.messages(file, activity_pb2.Activity)[0]
    await made.earning.RecordActivity(
        earning_service_pb2.RecordActivityRequest(program_id="giftshop", activity=activity)
    )
    listed = await guerdon("explain", "giftshop", "ann", "--var", var)
    assert "earn" in listed.stdout
    assert "+123" in listed.stdout
    shown = await guerdon("explain", "giftshop", "ann", "--entry", 1, "--var", var)
    assert "activity a1" in shown.stdout
    assert "rules version 1" in shown.stdout
    assert "the condition is false" in shown.stdout
    await made.points.AdjustPoints(
        points_service_pb2.AdjustPointsRequest(
            request_id="adjust-1",
            program_id="giftshop",
            member_id="ann",
            points=-3,
            actor="cara",
            reason="a mistake",
        )
    )
    by_hand = await guerdon("explain", "giftshop", "ann", "--entry", 2, "--var", var, columns=200)
    assert "cara took 3 points by adjustment" in by_hand.stdout
    told = await asked("explain", "giftshop", "ann", "--entry", 2, "--var", var)
    assert isinstance(told, list)
    assert told[0]["actor"] == "cara"
    assert told[0]["lines"][0].endswith(": a mistake.")
    nothing = await refused("explain", "giftshop", "ann", "--entry", 9, "--var", var)
    assert nothing == "ann has no entry 9"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("versions", "nope"), "PROGRAM_NOT_FOUND: no program nope"),
        (("explain", "giftshop", "zoe"), "MEMBER_NOT_FOUND: no member zoe"),
        (
            ("rollback", "giftshop", "--service", "earth", "--to", "1"),
            "no service is called earth; there are earning, tiers, redemption, gamification",
        ),
        (
            ("rollback", "giftshop", "--service", "tiers", "--to", "9"),
            "PROGRAM_VERSION_NOT_FOUND: program giftshop has no version 9",
        ),
        (
            ("apply", str(GIFTSHOP), "--publish-at", "soon"),
            "'soon' is no instant: write it as 2026-12-24T00:00",
        ),
    ],
    ids=["program", "member", "service", "version", "time"],
)
async def test_what_a_user_can_mend_is_one_line(
    peers: tuple[Path, Peers], arguments: tuple[str, ...], said: str
) -> None:
    assert (await refused(*arguments, "--var", peers[0])) == said


@pytest.mark.parametrize(
    ("written", "zone", "meant"),
    [
        ("2026-12-24T00:00", "Europe/Berlin", "2026-12-23T23:00:00+00:00"),
        ("2026-07-01", "America/New_York", "2026-07-01T04:00:00+00:00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00+00:00"),
        ("2026-12-24T00:00Z", "Asia/Kolkata", "2026-12-24T00:00:00+00:00"),
        ("2026-12-24T00:00+05:30", None, "2026-12-23T18:30:00+00:00"),
    ],
    ids=["winter", "a day", "the first of two", "with Z", "with an offset"],
)
def test_a_time_is_meant_in_the_programs_zone(written: str, zone: str | None, meant: str) -> None:
    found = instants.parse(written, ZoneInfo(zone) if zone else None)
    assert found is not None
    assert found.isoformat() == meant


@pytest.mark.parametrize(
    ("written", "zone", "words"),
    [
        ("2026-03-29T02:30", "Europe/Berlin", "does not exist in Europe/Berlin"),
        ("2026-12-24T00:00", None, "give its offset"),
        ("24.12.2026", "Europe/Berlin", "is no instant"),
    ],
)
def test_a_time_that_means_nothing_is_told(written: str, zone: str | None, words: str) -> None:
    with pytest.raises(instants.NotAnInstant, match=words):
        instants.parse(written, ZoneInfo(zone) if zone else None)
