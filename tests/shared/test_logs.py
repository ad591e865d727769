"""Logs are one JSON object a line, whatever is put into them."""

import subprocess
import sys

import orjson
import pytest

# In a process of its own: what is set up here is the whole process's.
PROGRAM = """
import sys
import structlog
from shared import logs
logs.configure(sys.argv[1], sys.argv[2])
log = logs.get_logger("tests.logs")
structlog.contextvars.bind_contextvars(request="r-1")
log.debug("quiet")
log.info("happened", member_key="ab", text="two\\nlines \\x1b[31m", thing=object)
try:
    secret = "hunter2"
    1 / 0
except ZeroDivisionError as error:
    log.error("failed", exc_info=error)
"""


def lines(level: str, log_format: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, log_format],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ran.stderr.splitlines()


def test_every_line_is_one_json_object() -> None:
    happened, failed = [orjson.loads(line) for line in lines("info", "json")]
    assert happened["event"] == "happened"
    assert happened["level"] == "info"
    assert happened["request"] == "r-1"
    assert happened["text"] == "two\nlines \x1b[31m"
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "hunter2" not in str(failed["exception"][0].get("frames", [])), "no local variables"


@pytest.mark.parametrize(("level", "told"), [("debug", 3), ("info", 2), ("error", 1)])
def test_the_level_says_what_is_told(level: str, told: int) -> None:
    assert len(lines(level, "json")) == told


def test_people_get_lines_that_they_can_read() -> None:
    shown = "\n".join(lines("info", "console"))
    assert "happened" in shown
    assert "ZeroDivisionError" in shown
