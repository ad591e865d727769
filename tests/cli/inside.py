"""The command in a thread of the process that serves the cluster: no start-up for each call."""

import asyncio
import json
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner

from cli import main, shell

SHOP = """
program_id: shop
time_zone: Europe/London
currencies: [{currency_id: points, expiry: {after_months: 6}}]
money_currency_code: GBP
multiplier_policy: MULTIPLIER_POLICY_MULTIPLY
enroll_unknown_members: true
adjustment_approval_above_points: 1000
rules:
  - {rule_id: pounds, activity_types: [purchase], base: {points: 1, per_amount_minor: 100}}
"""


def quiet() -> None:
    """Let the services that this process serves log nothing: a command's output is its own."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


class Command:
    """`guerdon` about the program of the tests, on the cluster that serves a folder.

    `about` are the options that each call has besides.
    """

    def __init__(self, var: Path, about: tuple[str, ...] = ("--program", "shop")) -> None:
        self._var = var
        self._about = about

    async def _run(self, arguments: tuple[object, ...], columns: int = 120) -> Any:
        given = [*map(str, arguments), *self._about, "--var", str(self._var)]
        runner = CliRunner(env={"COLUMNS": str(columns)})
        # A console keeps the width that the environment named when it was made.
        before, shell.out.width = shell.out.width, columns
        try:
            done = await asyncio.to_thread(runner.invoke, main.app, given)
        finally:
            shell.out.width = before
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done

    async def shows(self, *arguments: object, columns: int = 120) -> str:
        """What it prints."""
        done = await self._run(arguments, columns)
        assert done.exit_code == 0, done.stderr
        return str(done.stdout)

    async def ends(self, status: int, *arguments: object) -> str:
        """What it prints when it ends with that exit status."""
        done = await self._run(arguments)
        assert done.exit_code == status, done.stdout
        return str(done.stdout)

    async def answers(self, *arguments: object) -> Any:
        """The JSON that it prints."""
        return json.loads(await self.shows(*arguments, "--json"))

    async def refuses(self, *arguments: object) -> str:
        """The one line with which it fails."""
        done = await self._run(arguments)
        assert (done.exit_code, done.stdout) == (1, ""), done.stdout
        said = str(done.stderr).strip()
        assert "\n" not in said
        return said.removeprefix("guerdon: ")

    async def gives(self, member: str, points: int) -> str:
        """Enrol a member with points; the adjustment's identifier."""
        found = await self.answers(
            *("points", "adjust", member, "--give", points, "--reason", "hello", "--enroll")
        )
        return str(found["adjustment"]["adjustmentId"])
