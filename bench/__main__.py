"""Runs scenarios, prints their figures and writes them down.

Usage: python -m bench [earning] [standing] [replay] [sweep] [rules] [verify] [large]
Without a name all of them but `large`, which first writes ten million entries.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping

from rich.console import Console

from bench import large, report, rules, scenarios, sweep, verify
from bench.report import Figure
from bench.servers import ROOT
from shared.rpc import loop

SCENARIOS: Mapping[str, Callable[[], Awaitable[list[Figure]]]] = {
    "earning": scenarios.earning_figures,
    "standing": scenarios.standing_figures,
    "replay": scenarios.replay_figures,
    "sweep": sweep.sweep_figures,
    "rules": rules.rules_figures,
    "verify": verify.verify_figures,
    "large": large.large_figures,
}
_LONG = {"large"}


async def main(names: list[str]) -> None:
    """Run the named scenarios, all but the long ones when none is named."""
    console = Console()
    figures: list[Figure] = []
    for name in names or [each for each in SCENARIOS if each not in _LONG]:
        with console.status(f"measuring {name} …"):
            figures += await SCENARIOS[name]()
    console.print(report.table(figures))
    result = report.save(figures, " ".join(["python -m bench", *names]))
    console.print(f"written to {result.relative_to(ROOT)} and {report.SUMMARY.name}")


if __name__ == "__main__":
    unknown = [name for name in sys.argv[1:] if name not in SCENARIOS]
    if unknown:
        sys.exit(f"no scenario is called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    loop.run(main(sys.argv[1:]))
