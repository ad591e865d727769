"""Which module may import which: the layout of docs/architecture.md, as a check.

- shared/ and gen/ know no service; services know neither each other nor cli/ and bench/.
- Within a service: service, then servicer, followers and jobs, then operations, then store, then
  domain, tables, wire and settings; a module imports its own kind or what stands further on,
  never backwards.
- A domain.py is pure: it reaches the standard library, shared.errors, .decision, .names and
  .values, and modules of its own service of which the same is true.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping

SERVICES = ("earning", "tiers", "redemption", "gamification")
# Position in the chain. What is not listed (rules, boards, documents, ...) may be imported by all
# and may use what operations may use.
LAYERS = {"service": 0, "servicer": 1, "followers": 1, "jobs": 1, "operations": 2, "store": 3}
LAYERS |= {"domain": 4, "tables": 4, "wire": 4, "settings": 4}
UNLISTED_HOME, UNLISTED_TARGET = 2, 4
PURE_SHARED = {"shared", "shared.errors", "shared.decision", "shared.names", "shared.values"}
# Of the standard library, what reaches out of the process or waits.
IMPURE_STANDARD = {
    "asyncio",
    "http",
    "os",
    "random",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
}
# Packages of protos that are about no service, so that shared/ may serve them.
SHARED_PROTOS = ("guerdon.clock", "guerdon.feed")


def complaints(trees: Mapping[str, ast.Module]) -> list[str]:
    """Lists the imports that go against an arrow, given the syntax tree of each path; sorted."""
    modules = {module_name(path): imports(tree) for path, tree in trees.items()}
    places = {module_name(path): path for path in trees}
    found = []
    for name, targets in modules.items():
        for target, line in targets:
            problem = outward(name, target) or backward(name, target)
            if problem:
                found.append(f"{places[name]}:{line}: imports {target}: {problem}")
    for service in SERVICES:
        for name, target, line in impurities(f"services.{service}.domain", modules):
            found.append(
                f"{places[name]}:{line}: imports {target}, and the domain of {service} is pure"
            )
    return sorted(found)


def module_name(path: str) -> str:
    """Returns the dotted name of a path: services/tiers/domain.py is services.tiers.domain."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(tree: ast.Module) -> list[tuple[str, int]]:
    """Lists what a module imports, wherever in it, with the line."""
    return [
        (name, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(node)
    ]


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Lists the dotted names of one statement; `from a.b import c` is a.b.c, which c may be."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module or ''}.{alias.name}" for alias in node.names]


def outward(name: str, target: str) -> str:
    """Says why one top-level part may not import another; empty when it may."""
    home, away = name.split("."), target.split(".")
    if home[0] == "shared":
        if away[0] in {"bench", "cli", "services"}:
            return "shared/ knows no service"
        if away[0] == "guerdon" and not target.startswith(SHARED_PROTOS):
            return "shared/ knows no service's protos"
    if home[0] == "services":
        if away[0] in {"bench", "cli"}:
            return "a service knows nothing of the command"
        if away[0] == "services" and len(home) > 1 and away[1:2] != home[1:2]:
            return "services meet in protos/"
    if home[0] == "cli" and away[0] == "bench":
        return "the command knows nothing of the bench"
    if home[0] not in {"tests", "tools"} and away[0] == "tests":
        return "only tests import tests"
    return ""


def backward(name: str, target: str) -> str:
    """Says which layer of its service a module may not reach; empty when it may."""
    home, away = name.split("."), target.split(".")
    if home[0] != "services" or len(home) < 3 or away[:2] != home[:2] or len(away) < 3:
        return ""
    if LAYERS.get(away[2], UNLISTED_TARGET) < LAYERS.get(home[2], UNLISTED_HOME):
        return f"{away[2]} stands before {home[2]}"
    return ""


def impurities(
    start: str, modules: Mapping[str, list[tuple[str, int]]]
) -> Iterator[tuple[str, str, int]]:
    """Yields (module, import, line) for all that is impure and reached from a domain module."""
    service = start.rpartition(".")[0]
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        for target, line in modules.get(name, []):
            if target.startswith(f"{service}."):
                inner = target if target in modules else target.rpartition(".")[0]
                if inner != service and inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)
            elif not is_pure(target):
                yield name, target, line


def is_pure(target: str) -> bool:
    """Tells whether a domain may import a name from outside its service."""
    top = target.split(".", maxsplit=1)[0]
    if top == "shared":
        return target in PURE_SHARED or target.rpartition(".")[0] in PURE_SHARED - {"shared"}
    return top in sys.stdlib_module_names and top not in IMPURE_STANDARD
