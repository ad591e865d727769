"""The docs are true: tables name what is there, links lead somewhere, a line is a sentence."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from cli import cluster, main
from tests.cluster.calling import methods

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
COVERAGE = "semantics-coverage.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
# The end of a sentence, and the beginning of another, in one line.
TWO_SENTENCES = re.compile(r"(?<!^\d)[.?!] +[A-Z]")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text())


def table(page: Path, heading: str) -> list[tuple[str, str]]:
    """The rows of the table below a heading, as its first two cells."""
    below = page.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows[1:]]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_line_of_prose_is_one_sentence(page: Path) -> None:
    found = [
        line
        for line in prose(page).splitlines()
        if TWO_SENTENCES.search(line) and not line.startswith(("|", "- ", "#"))
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_link_within_the_project_leads_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(prose(page)) if "://" not in target]
    assert [each for each in targets if not (page.parent / each).exists()] == []


def test_the_table_of_the_api_is_that_of_the_protos() -> None:
    written = [re.findall(r"`(\w+)`", cell) for _, cell in table(ROOT / "README.md", "The API")]
    served: dict[str, list[str]] = {}
    for method in methods():
        listed = served.setdefault(method.descriptor.containing_service.full_name, [])
        if method.descriptor.name not in listed:
            listed.append(method.descriptor.name)
    assert sorted(written) == sorted(served.values())


def test_the_table_of_the_command_is_that_of_the_command() -> None:
    commands = typer.main.get_command(main.app).commands  # type: ignore[attr-defined]
    written = [cell for cell, _ in table(ROOT / "README.md", "The command")]
    assert {re.sub(r"`guerdon (\w+).*`", r"\1", cell) for cell in written} == set(commands)


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


def test_every_test_that_the_coverage_of_the_semantics_names_is_there() -> None:
    there = {
        (path.name, test)
        for path in (ROOT / "tests").rglob("test_*.py")
        for test in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / COVERAGE).read_text())
    assert len(named) > 50
    assert [each for each in named if each not in there] == []


def blocks(kind: str) -> list[tuple[str, str]]:
    """Pairs of page and code of all blocks of a kind."""
    return [
        (name(page), code)
        for page in PAGES
        for found, code in FENCE.findall(page.read_text())
        if found == kind
    ]


def test_code_blocks_are_of_a_kind_that_is_run() -> None:
    kinds = {kind for page in PAGES for kind, _ in FENCE.findall(page.read_text())}
    assert kinds <= {"", "yaml", "console", "python"}


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_the_python_of_a_page_runs_with_nothing_of_ours(page: str, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-"], input=code, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize(("page", "code"), blocks(""))
def test_the_commands_of_a_code_block_are_there(page: str, code: str) -> None:
    lines = [line.split("#")[0].split() for line in code.splitlines() if line.strip()]
    assert lines, page
    for words in lines:
        assert words[0] == "make", f"{page}: only make is known here, not {words[0]}"
        dry = subprocess.run(
            ["make", "--dry-run", "--silent", *words[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```console" in page.read_text()], ids=name
)
async def test_what_a_page_writes_and_types_works_from_top_to_bottom(
    page: Path, tmp_path: Path
) -> None:
    """On one cluster; without it each command would start and stop one of its own."""
    wrong: list[str] = []
    async with cluster.running(tmp_path / "var"):
        for code in _consoles(page, tmp_path):
            wrong += await _typed(code, tmp_path)
    assert wrong == []


def _consoles(page: Path, folder: Path) -> Iterator[str]:
    """What is typed, block by block; the files before each block are written by then."""
    for kind, code in FENCE.findall(page.read_text()):
        if kind == "yaml":
            path = folder / code.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        elif kind == "console":
            yield code


async def _typed(code: str, folder: Path) -> list[str]:
    """Run each command line; gives those that fail, and lines below them that they do not print."""
    printed, wrong = "", []
    for line in code.splitlines():
        if not line.startswith("$ "):
            if line not in printed:
                wrong.append(f"{line} is not in: {printed}")
            continue
        words = shlex.split(line)
        assert words[1] == "guerdon"
        done = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli.main",
            *words[2:],
            "--var",
            str(folder / "var"),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, error = await done.communicate()
        printed = (out + error).decode()
        if done.returncode:
            wrong.append(f"{line} ended with {done.returncode}: {printed}")
    return wrong
