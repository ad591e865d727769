"""What a run of the bench leaves: a table for people, files for programs."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich import box
from rich.table import Table

from bench.servers import ROOT
from shared.clock import SystemClock

SUMMARY = ROOT / "var" / "bench" / "summary.json"
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One scenario's figure.

    `floor` is in the same unit and from the same run, None where there is none; `ratio` is value ÷
    floor; `target` is what the ratio (or, without a floor, the value) should reach, in words.
    """

    scenario: str
    value: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    server_cpu_us_per_call: float | None = None
    target: str = ""
    notes: str = ""

    @property
    def ratio(self) -> float | None:
        """The value as a share of the floor."""
        return self.value / self.floor if self.floor else None


def table(figures: Sequence[Figure]) -> Table:
    """The figures as a table."""
    shown = Table(box=box.SIMPLE_HEAD)
    for heading in ("scenario", "value", "floor", "ratio", "target", "server CPU/call", "notes"):
        shown.add_column(heading, justify="left" if heading in {"scenario", "notes"} else "right")
    for figure in figures:
        shown.add_row(
            figure.scenario,
            f"{figure.value:,.1f} {figure.unit}",
            "" if figure.floor is None else f"{figure.floor:,.1f} ({figure.floor_is})",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.target,
            ""
            if figure.server_cpu_us_per_call is None
            else f"{figure.server_cpu_us_per_call:.0f} µs",
            figure.notes,
        )
    return shown


def save(figures: Sequence[Figure], command: str) -> Path:
    """Write the summary, merged into the last, and a dated result with machine and commit."""
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = {}
    if SUMMARY.exists():
        known = json.loads(SUMMARY.read_text(encoding="utf-8"))
    known.update({figure.scenario: summary_of(figure) for figure in figures})
    SUMMARY.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    commit = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    now = SystemClock().now()
    result = RESULTS / f"{now:%Y-%m-%d-%H%M%S}-{commit}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "time": now.isoformat(timespec="seconds"),
        "commit": commit,
        "clean": not _git("status", "--porcelain"),
        "command": command,
        "machine": machine(),
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures],
    }
    result.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return result


def summary_of(figure: Figure) -> Mapping[str, object]:
    """A figure as the summary holds it."""
    return {
        "value": round(figure.value, 3),
        "unit": figure.unit,
        "floor": None if figure.floor is None else round(figure.floor, 3),
        "ratio": None if figure.ratio is None else round(figure.ratio, 3),
        "server_cpu_us_per_call": None
        if figure.server_cpu_us_per_call is None
        else round(figure.server_cpu_us_per_call, 1),
    }


def machine() -> Mapping[str, object]:
    """What the run was on, without its name."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
