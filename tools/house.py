"""Places in the tree that stray from the layout and the style of CONTRIBUTING.md.

Prints one line for each, "path:line: what is wrong", and ends with status 1 when there is any.
The rules about imports are in tools/arrows.py; what ruff and mypy see is not looked for again.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A script's own folder is on the path; under pytest the project's root is.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools import arrows  # noqa: E402

LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
SQL_HOMES = {"tables.py", "store.py", "env.py"}
# Calls by which a test is seen to check something, beside the assert statement.
CHECKS = re.compile(
    r"(^|[._])(raises|assert\w*|check\w*|verify\w*|expect\w*|must\w*|run_state_machine_as_test)$"
)
# Split, so that this file does not find itself.
LATER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")
PATCHES = ("mock" + ".patch", "monkeypatch" + ".setattr")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Python file of the tree; `path` is relative to the project, with forward slashes."""

    path: str
    text: str
    tree: ast.Module
    broken: str = ""

    @property
    def is_test(self) -> bool:
        """Tells whether it belongs to the tests."""
        return self.path.startswith("tests/")


def main() -> int:
    """Prints every complaint; returns the exit status."""
    modules = list(read(ROOT))
    found = sorted(complaint for module in modules for complaint in complaints(module))
    found += arrows.complaints({module.path: module.tree for module in modules})
    for complaint in found:
        print(complaint)
    print(f"house: {len(modules)} modules, {len(found)} complaints")
    return 1 if found else 0


def read(root: Path) -> Iterator[Module]:
    """Yields the Python files that git tracks or would track, generated ones aside."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.splitlines())):
        path = root / name
        if not name.startswith("gen/") and path.is_file():
            text = path.read_text(encoding="utf-8")
            try:
                yield Module(path=name, text=text, tree=ast.parse(text))
            except SyntaxError as error:
                broken = f"{name}:{error.lineno}: {error.msg}"
                yield Module(path=name, text=text, tree=ast.parse(""), broken=broken)


def complaints(module: Module) -> Iterator[str]:
    """Yields what is wrong with one module by itself."""
    if module.broken:
        yield module.broken
    yield from sizes(module)
    yield from words(module)
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield from functions(module, node)
        elif isinstance(node, ast.ExceptHandler) and not module.is_test and swallows(node):
            yield f"{module.path}:{node.lineno}: an error of any kind is swallowed"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from sql(module, node)


def sizes(module: Module) -> Iterator[str]:
    """Yields a complaint about a module that is longer than one can read at a sitting."""
    lines = module.text.count("\n")
    most = TEST_LINES_MAX if module.is_test else LINES_MAX
    if lines > most:
        yield f"{module.path}:1: {lines} lines, at most {most}: split it by noun"


def words(module: Module) -> Iterator[str]:
    """Yields what is left for later and what is patched in a test."""
    for number, line in enumerate(module.text.splitlines(), 1):
        if LATER.search(line):
            yield f"{module.path}:{number}: something is left for later"
        if any(patch in line for patch in PATCHES):
            yield f"{module.path}:{number}: a test patches what it should be given"


def functions(module: Module, node: Function) -> Iterator[str]:
    """Yields what is wrong with one function."""
    where = f"{module.path}:{node.lineno}: {node.name}"
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES_MAX:
        yield f"{where} has {lines} lines, at most {FUNCTION_LINES_MAX}"
    if module.is_test and node.name.startswith("test_") and not checks_something(node):
        yield f"{where} checks nothing that can be seen"
    if not module.is_test and "Protocol" not in module.text and is_stub(node):
        yield f"{where} is a stub"


def checks_something(node: Function) -> bool:
    """Tells whether a test asserts, or calls something whose name says that it checks."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            return True
        if isinstance(inner, ast.Call) and CHECKS.search(ast.unparse(inner.func)):
            return True
    return False


def is_stub(node: Function) -> bool:
    """Tells whether a function does nothing, or says that it is not implemented."""
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    if "abstract" in decorators or "overload" in decorators:
        return False
    body = [statement for statement in node.body if not is_docstring(statement)]
    if all(isinstance(statement, ast.Pass) for statement in body):
        return True
    return any(
        isinstance(statement, ast.Raise) and "NotImplemented" in ast.unparse(statement)
        for statement in body
    )


def is_docstring(statement: ast.stmt) -> bool:
    """Tells whether a statement is a constant by itself: a docstring or an ellipsis."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def swallows(handler: ast.ExceptHandler) -> bool:
    """Tells whether a handler takes every error and does nothing with it."""
    broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    return broad and all(isinstance(step, ast.Pass | ast.Continue) for step in handler.body)


def sql(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yields imports of SQLAlchemy in a service outside its tables, store and migrations."""
    parts = Path(module.path).parts
    if parts[0] != "services" or parts[-1] in SQL_HOMES or "migrations" in parts:
        return
    # A store that was split by noun keeps the word: store_boards.py, boards_store.py.
    if "store" in parts[-1] or "tables" in parts[-1]:
        return
    if any(name.split(".")[0] == "sqlalchemy" for name in arrows.imported(node)):
        yield f"{module.path}:{node.lineno}: SQL belongs to tables.py and store.py"


if __name__ == "__main__":
    sys.exit(main())
