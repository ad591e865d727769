"""The layout, the style and the generated code are what the docs say."""

import ast
import json
import re
import tomllib
from pathlib import Path

import protovalidate
import pytest

from guerdon.feed.v1 import feed_service_pb2
from tools import arrows, house, protos

ROOT = Path(__file__).resolve().parent.parent


def test_nothing_in_the_tree_strays_from_the_style() -> None:
    modules = list(house.read(ROOT))
    assert [line for module in modules for line in house.complaints(module)] == []


def test_no_import_goes_against_an_arrow() -> None:
    assert arrows.complaints({module.path: module.tree for module in house.read(ROOT)}) == []


def test_the_generated_code_is_that_of_the_protos(capsys: pytest.CaptureFixture[str]) -> None:
    assert protos.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "statement", "complaint"),
    [
        ("shared/feed.py", "import services.tiers", "shared/ knows no service"),
        ("shared/feed.py", "from guerdon.tiers.v1 import x_pb2", "knows no service's protos"),
        ("shared/feed.py", "from guerdon.feed.v1 import x_pb2", ""),
        ("services/tiers/store.py", "from services import earning", "services meet in protos/"),
        ("services/tiers/store.py", "from guerdon.earning.v1 import x_pb2", ""),
        ("services/tiers/store.py", "import cli.main", "knows nothing of the command"),
        ("services/tiers/store.py", "from services.tiers import operations", "stands before"),
        ("services/tiers/store.py", "from services.tiers import domain", ""),
        ("services/tiers/operations.py", "import services.tiers.servicer", "stands before"),
        ("services/tiers/ladders.py", "import services.tiers.jobs", "stands before"),
        ("services/tiers/servicer.py", "from services.tiers import operations", ""),
        ("services/tiers/domain.py", "import sqlalchemy", "the domain of tiers is pure"),
        ("services/tiers/domain.py", "import random", "the domain of tiers is pure"),
        ("services/tiers/domain.py", "from shared import clock", "the domain of tiers is pure"),
        ("services/tiers/domain.py", "from shared.errors import Refusal", ""),
        ("services/tiers/domain.py", "from shared import errors", ""),
        ("cli/main.py", "import bench", "knows nothing of the bench"),
        ("cli/main.py", "import services.tiers.service", ""),
        ("bench/main.py", "import tests.oracle", "only tests import tests"),
    ],
)
def test_the_arrows_say_what_may_import_what(path: str, statement: str, complaint: str) -> None:
    found = arrows.complaints({path: ast.parse(statement)})
    assert len(found) == bool(complaint)
    assert complaint in "".join(found)


def test_a_domain_is_impure_through_a_module_beside_it() -> None:
    trees = {
        "services/tiers/domain.py": ast.parse("from services.tiers import ladders"),
        "services/tiers/ladders.py": ast.parse("import math\nimport grpc"),
    }
    assert arrows.complaints(trees) == [
        "services/tiers/ladders.py:2: imports grpc, and the domain of tiers is pure"
    ]


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("shared/a.py", "\n" * 401, "split it by noun"),
        ("tests/test_a.py", "\n" * 401, ""),
        ("shared/a.py", "def f():\n" + "    x = 1\n" * 70, "has 71 lines"),
        ("shared/a.py", "def f():\n    pass\n", "is a stub"),
        ("shared/a.py", "def f():\n    raise NotImplementedError\n", "is a stub"),
        ("shared/a.py", "try:\n    f()\nexcept Exception:\n    pass\n", "swallowed"),
        ("shared/a.py", "try:\n    f()\nexcept OSError:\n    pass\n", ""),
        ("shared/a.py", "# TO" + "DO: later\n", "left for later"),
        ("services/tiers/jobs.py", "import sqlalchemy\n", "SQL belongs"),
        ("services/tiers/store.py", "import sqlalchemy\n", ""),
        ("tests/test_a.py", "def test_a():\n    f()\n", "checks nothing"),
        ("tests/test_a.py", "def test_a():\n    with pytest.raises(E):\n        f()\n", ""),
        ("tests/test_a.py", "mock" + ".patch('a')\n", "patches what it should be given"),
    ],
)
def test_the_style_check_finds_what_it_is_for(path: str, text: str, complaint: str) -> None:
    found = list(house.complaints(house.Module(path=path, text=text, tree=ast.parse(text))))
    assert len(found) == bool(complaint)
    assert complaint in "".join(found)


def test_the_constraints_of_our_protos_are_enforced_on_our_messages() -> None:
    request = feed_service_pb2.ReadEventsRequest(partition=-1, page_size=1001)
    found = protovalidate.collect_violations(request)
    assert [violation.proto.rule_id for violation in found] == ["int32.gte_lte", "int32.gte_lte"]
    assert protovalidate.collect_violations(feed_service_pb2.ReadEventsRequest()) == []


def test_the_locks_hold_every_dependency_with_hashes_and_no_addresses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {
        "requirements.lock": project["project"]["dependencies"],
        "requirements-build.lock": project["dependency-groups"]["build"],
        "requirements-dev.lock": [
            line for line in project["dependency-groups"]["dev"] if isinstance(line, str)
        ],
    }
    for name, requirements in wanted.items():
        lock = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in lock
        locked = re.findall(r"^([a-z0-9-]+)==\S+.*\\\n    --hash=sha256:", lock, re.MULTILINE)
        assert len(locked) == len(re.findall(r"^[a-z]", lock, re.MULTILINE))
        assert {re.split(r"[\[><=; ]", line)[0] for line in requirements} <= set(locked)


def test_the_npm_lock_names_no_registry() -> None:
    lock = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    packages = json.loads(lock)["packages"]
    assert all(path == "" or package["integrity"] for path, package in packages.items())


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", index) == pages
