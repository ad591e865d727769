"""Program folders: every complaint names its file, its line and its field."""

from pathlib import Path

import pytest

from cli import document_values, documents
from guerdon.earning.v1 import program_pb2 as earning_pb
from guerdon.redemption.v1 import reward_pb2

PROGRAMS = Path(__file__).resolve().parents[2] / "programs"
GIFTSHOP = (PROGRAMS / "giftshop" / "earning.yaml").read_text(encoding="utf-8")


def complaints(folder: Path, content: str | bytes, name: str = "earning.yaml") -> list[str]:
    """What is said of a folder with one file, without the folder's path."""
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(raw)
    with pytest.raises(documents.BadDocuments) as refused:
        documents.load(folder)
    return [str(each).removeprefix(f"{folder}/") for each in refused.value.complaints]


@pytest.mark.parametrize("folder", sorted(PROGRAMS.iterdir()), ids=lambda folder: folder.name)
def test_the_programs_that_come_along_can_be_read(folder: Path) -> None:
    loaded = documents.load(folder)
    services = [document.service for document in loaded]
    assert services == [kind for kind in documents.KINDS if kind in services]
    assert "earning" in services
    assert {getattr(document.message, "program_id", "") for document in loaded} == {folder.name}


def test_fields_are_written_in_either_case_and_mean_the_same(tmp_path: Path) -> None:
    snake, camel = tmp_path / "snake", tmp_path / "camel"
    for folder, name in ((snake, "enroll_unknown_members"), (camel, "enrollUnknownMembers")):
        folder.mkdir()
        (folder / "earning.yaml").write_text(f"program_id: a\n{name}: true\n", encoding="utf-8")
    (one,), (other,) = documents.load(snake), documents.load(camel)
    assert one.message == other.message
    assert one.lines == other.lines == {"program_id": 1, "enroll_unknown_members": 2}


def test_durations_instants_and_dates_are_texts_of_their_kinds(tmp_path: Path) -> None:
    (tmp_path / "earning.yaml").write_text(
        "program_id: 2010-12-01\naccepted_past_duration: 86400.5s\n", encoding="utf-8"
    )
    (tmp_path / "redemption.yaml").write_text(
        "program_id: 2010-12-01\n"
        "rewards:\n"
        "  - redeemable_from_time: 2011-03-01T00:00:00Z\n"
        '    redeemable_until_time: "2011-03-02T00:00:00+01:00"\n'
        "    stock_total: 5\n"
        "    kind: 2\n",
        encoding="utf-8",
    )
    earning, redemption = (document.message for document in documents.load(tmp_path))
    assert isinstance(earning, earning_pb.EarningProgram)
    assert isinstance(redemption, reward_pb2.RedemptionProgram)
    assert earning.program_id == "2010-12-01"
    assert earning.accepted_past_duration.ToMilliseconds() == 86_400_500
    reward = redemption.rewards[0]
    assert reward.redeemable_from_time.ToJsonString() == "2011-03-01T00:00:00Z"
    assert reward.redeemable_until_time.ToJsonString() == "2011-03-01T23:00:00Z"
    assert reward.kind == reward_pb2.Reward.KIND_PRODUCT


CHANGED = [
    # what is wrong, what is replaced by what, the complaint
    (
        "a misspelt field",
        ("display_name: Points", "display_nam: Points"),
        (
            "earning.yaml:7: currencies[0].display_nam: PointCurrency has no field 'display_nam'; "
            "did you mean 'display_name'?"
        ),
    ),
    (
        "a field of nothing",
        ("rounding: ROUNDING_FLOOR", "zzz: 1"),
        "earning.yaml:10: zzz: EarningProgram has no field 'zzz'",
    ),
    (
        "a short enum value",
        ("MULTIPLIER_POLICY_MULTIPLY", "MULTIPLY"),
        (
            "earning.yaml:9: multiplier_policy: 'MULTIPLY' is none of MULTIPLIER_POLICY_MULTIPLY, "
            "MULTIPLIER_POLICY_ADD, MULTIPLIER_POLICY_BEST; "
            "did you mean 'MULTIPLIER_POLICY_MULTIPLY'?"
        ),
    ),
    (
        "an enum's number that is none",
        ("MULTIPLIER_POLICY_MULTIPLY", "77"),
        (
            "earning.yaml:9: multiplier_policy: '77' is none of MULTIPLIER_POLICY_MULTIPLY, "
            "MULTIPLIER_POLICY_ADD, MULTIPLIER_POLICY_BEST"
        ),
    ),
    (
        "a list where a mapping is wanted",
        ("base: {points: 1, per_amount_minor: 100}", "base: [1, 100]"),
        (
            "earning.yaml:19: rules[0].base: must be a mapping with the fields of BasePoints: "
            "points, per_amount_minor"
        ),
    ),
    (
        "a mapping where a list is wanted",
        ("activity_types: [purchase]", "activity_types: {purchase: 1}"),
        "earning.yaml:17: rules[0].activity_types: must be a list",
    ),
    (
        "a list where a value is wanted",
        ("program_id: giftshop", "program_id: [giftshop]"),
        "earning.yaml:2: program_id: must be a single value",
    ),
    (
        "a field given twice",
        ("time_zone: Europe/London", "time_zone: Europe/London\ntimeZone: Europe/Paris"),
        "earning.yaml:5: time_zone: is given twice",
    ),
    (
        "two of which one is allowed",
        ("base: {", "flat: {points: 1}\n    base: {"),
        "earning.yaml:20: rules[0].base: stands beside flat, and only one of them may be given",
    ),
    (
        "a word as number",
        ("points: 1, per", "points: one, per"),
        "earning.yaml:19: rules[0].base.points: 'one' is not a whole number",
    ),
    (
        "a fraction",
        ("points: 1, per", "points: 1.5, per"),
        "earning.yaml:19: rules[0].base.points: '1.5' is not a whole number",
    ),
    (
        "a number beyond",
        ("points: 1, per", "points: 9223372036854775808, per"),
        "earning.yaml:19: rules[0].base.points: 9223372036854775808 does not fit into 64 bits",
    ),
    (
        "a value that its tag contradicts",
        ("points: 1, per", "points: !!int x, per"),
        "earning.yaml:19: rules[0].base.points: 'x' is no value of tag:yaml.org,2002:int",
    ),
    (
        "code",
        ("points: 1, per", "points: !!python/object/apply:os.system x, per"),
        (
            "earning.yaml:19: rules[0].base.points: 'x' is no value of "
            "tag:yaml.org,2002:python/object/apply:os.system"
        ),
    ),
    (
        "a number as truth",
        ("enroll_unknown_members: true", "enroll_unknown_members: 1"),
        "earning.yaml:12: enroll_unknown_members: '1' is neither true nor false",
    ),
    (
        "a number as text",
        ("program_id: giftshop", "program_id: 5"),
        "earning.yaml:2: program_id: must be a text: write '5' in quotes",
    ),
    (
        "nothing in a list",
        ("activity_types: [purchase]", "activity_types: [null]"),
        "earning.yaml:17: rules[0].activity_types[0]: must not be empty",
    ),
    (
        "an octal number",
        ("points: 1, per", "points: 010, per"),
        (
            "earning.yaml:19: rules[0].base.points: '010' is not a whole number in decimal digits, "
            "as 10 is"
        ),
    ),
    (
        "a number of minutes",
        ("points: 1, per", "points: 1:30, per"),
        (
            "earning.yaml:19: rules[0].base.points: '1:30' is not a whole number in decimal "
            "digits, as 10 is"
        ),
    ),
    (
        "a number in quotes",
        ("points: 1, per", 'points: "1", per'),
        "earning.yaml:19: rules[0].base.points: is a text: write 1 without quotes",
    ),
    (
        "a value where a list is wanted",
        ("activity_types: [purchase]", "activity_types: purchase"),
        "earning.yaml:17: rules[0].activity_types: must be a list: write [purchase]",
    ),
    (
        "a comma within braces",
        (
            "base: {points: 1, per",
            "schedule: {recurrence: FREQ=WEEKLY;BYDAY=FR,SA}\n    base: {points: 1, per",
        ),
        (
            "earning.yaml:19: rules[0].schedule.SA: RuleSchedule has no field 'SA'; "
            "a text with a comma in it stands in quotes"
        ),
    ),
    (
        "a field without a name",
        ("program_id: giftshop", "? [a, b]\n: c\nprogram_id: giftshop"),
        "earning.yaml:2: the name of a field must be a single word",
    ),
    (
        "half a character",
        ("display_name: Points", 'display_name: "\\ud800"'),
        "earning.yaml:7: currencies[0].display_name: holds half a character",
    ),
    (
        "a duration in days",
        ("rounding: ROUNDING_FLOOR", "accepted_past_duration: 5d"),
        (
            "earning.yaml:10: accepted_past_duration: '5d' is not written like "
            '86400s (seconds, with an "s")'
        ),
    ),
    (
        "a duration of ages",
        ("rounding: ROUNDING_FLOOR", "accepted_past_duration: 99999999999999s"),
        (
            "earning.yaml:10: accepted_past_duration: '99999999999999s' is not written like "
            '86400s (seconds, with an "s")'
        ),
    ),
]


@pytest.mark.parametrize(
    ("why", "change", "complaint"), CHANGED, ids=[each[0].replace(" ", "-") for each in CHANGED]
)
def test_a_mistake_is_told_with_file_line_and_field(
    tmp_path: Path, why: str, change: tuple[str, str], complaint: str
) -> None:
    assert change[0] in GIFTSHOP
    assert complaints(tmp_path, GIFTSHOP.replace(*change, 1)) == [complaint]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "earning.yaml:1: must be a mapping with the fields of guerdon.earning.v1."),
        ("- a\n", "earning.yaml:1: must be a mapping with the fields of guerdon.earning.v1."),
        ("a: 1\nb: c: d\n", "earning.yaml:2: mapping values are not allowed here"),
        ("a: 1\nb: [c\nd: e\n", "earning.yaml:3: while parsing a flow sequence, expected"),
        ("a: 1\n---\nb: 2\n", "earning.yaml:2: expected a single document in the stream"),
        ("a: 1\nb: \x07\n", "earning.yaml:2: holds a character that YAML forbids"),
        (b"a: 1\nb: \xff\n", "earning.yaml:2: is not UTF-8 text"),
        ("[" * 3000, "earning.yaml:1: is nested too deeply"),
        ("a: *b\n", "earning.yaml:1: found undefined alias 'b'"),
        ("a:\n\t- b\n", "earning.yaml:2: while scanning for the next token, found character"),
        ("rules: &r\n- *r\n", "earning.yaml:1: rules[0]: must be a mapping with the fields of"),
    ],
)
def test_a_file_that_is_no_document_is_told_with_its_line(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    (told,) = complaints(tmp_path, content)
    assert told.startswith(complaint)


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "tiers.yaml").write_text("ladder: []\ntime_zone: 1\n", encoding="utf-8")
    told = complaints(tmp_path, "rule: []\nprogram: a\n")
    assert [line.split(": ")[0] for line in told] == [
        "earning.yaml:1",
        "earning.yaml:2",
        "tiers.yaml:1",
        "tiers.yaml:2",
    ]


def test_the_files_must_name_one_program(tmp_path: Path) -> None:
    (tmp_path / "tiers.yaml").write_text("# levels\nprogram_id: b\n", encoding="utf-8")
    assert complaints(tmp_path, "program_id: a\n") == [
        "earning.yaml:1: program_id: the files name several programs: ['a', 'b']",
        "tiers.yaml:2: program_id: the files name several programs: ['a', 'b']",
    ]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "earnings.yaml",
            (
                "earnings.yaml:1: no service is called 'earnings'; the files of a program are "
                "earning.yaml, tiers.yaml, redemption.yaml, gamification.yaml"
            ),
        ),
        ("earning.yml", "earning.yml:1: must be called earning.yaml"),
    ],
)
def test_a_file_that_no_service_takes_is_told(tmp_path: Path, name: str, complaint: str) -> None:
    assert complaints(tmp_path, "program_id: a\n", name) == [complaint]


def test_a_folder_must_be_there_and_hold_something(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "none", "is not a folder"), (tmp_path, "holds no .yaml")):
        with pytest.raises(documents.BadDocuments) as refused:
            documents.load(folder)
        assert words in str(refused.value)
        assert str(folder) in str(refused.value)


def test_a_file_that_cannot_be_read_is_a_complaint(tmp_path: Path) -> None:
    (tmp_path / "earning.yaml").mkdir()
    with pytest.raises(documents.BadDocuments) as refused:
        documents.load(tmp_path)
    assert "earning.yaml:1: cannot be read: Is a directory" in str(refused.value)


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("rules[0].base.points", 19),
        ("rules[0].base.nothing", 19),
        ("rules[1].condition", 22),
        ("rules[1].line_condition", 20),
        ("rules[7].condition", 14),
        ("rules.", 14),
        ("nothing", 1),
        ("", 1),
    ],
)
def test_a_complaint_of_a_service_stands_at_the_nearest_line(field: str, line: int) -> None:
    earning = documents.load(PROGRAMS / "giftshop")[0]
    assert str(earning.complaint(field, "is wrong")).startswith(f"{earning.file}:{line}: ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            ("tier_ladder_id: main", "tier_ladder_id: mian"),
            "tier_ladder_id: tiers.yaml has no ladder mian; did you mean 'main'?",
        ),
        (
            ("levels: [silver]", "levels: [sliver]"),
            "rules[6].levels[0]: tiers.yaml has no level sliver; did you mean 'silver'?",
        ),
        (
            ("levels: [gold]", "levels: [gold, diamond]"),
            "rules[7].levels[1]: tiers.yaml has no level diamond; it has ordinary, silver, gold",
        ),
        (
            ("levels: [silver]", "condition: tier == 'sliver'"),
            "rules[6].condition: tiers.yaml has no level sliver; did you mean 'silver'?",
        ),
        (
            ("levels: [gold]", """condition: '"gold" == tier || tier in ["", "diamond"]'"""),
            "rules[7].condition: tiers.yaml has no level diamond; it has ordinary, silver, gold",
        ),
    ],
)
def test_a_level_that_the_ladder_beside_does_not_have_is_told(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    classic = PROGRAMS / "classic"
    (tmp_path / "tiers.yaml").write_text((classic / "tiers.yaml").read_text(encoding="utf-8"))
    text = (classic / "earning.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (told,) = complaints(tmp_path, text.replace(*change))
    line = next(at for at, each in enumerate(text.splitlines(), 1) if change[0] in each)
    assert told == f"earning.yaml:{line}: {complaint}"


@pytest.mark.parametrize(
    ("expression", "texts"),
    [
        ('tier == "gold"', ["gold"]),
        ("tier != 'a' && tier in [\"b\", 'c', x]", ["a", "b", "c"]),
        ('"gold" == tier', ["gold"]),
        ('tier == "" || "tier == gold" == activity.source', [""]),
        ('activity.tier == "gold" || tier.startsWith("g") || f == tier', []),
        ('// tier == "gold"\ntier == "silver"', ["silver"]),
        ('tier == "a\\"b"', []),
        ("tier in [", []),
    ],
)
def test_texts_are_those_that_a_variable_is_compared_with(
    expression: str, texts: list[str]
) -> None:
    assert list(document_values.compared_with(expression, "tier")) == texts


@pytest.mark.parametrize(
    ("style", "line"), [("|", 24), (">", 22), ("", 22)], ids=["as it is", "folded", "plain"]
)
def test_a_mistake_in_an_expression_of_several_lines_stands_at_its_line(
    tmp_path: Path, style: str, line: int
) -> None:
    text = GIFTSHOP.splitlines()
    assert text[21].strip().startswith("condition:")
    rest = ['      tier == "silver" &&', "      activity.colour == 1"]
    changed = [*text[:21], f"    condition: {style}", *rest, *text[22:]]
    (tmp_path / "earning.yaml").write_text("\n".join(changed), encoding="utf-8")
    (earning,) = documents.load(tmp_path)
    said = str(earning.complaint("rules[1].condition", "line 2, column 9: no colour"))
    assert said.startswith(f"{earning.file}:{line}: rules[1].condition: line 2, column 9")
