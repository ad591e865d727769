"""Values: dataclasses with equality, hashes and slots, whose fields the type checker guards."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.values import value


@value
class _Point:
    across: int
    down: int = 0


def test_a_value_is_compared_hashed_and_shown_by_its_fields() -> None:
    assert _Point(across=1) == _Point(across=1, down=0) != _Point(across=2)
    assert {_Point(across=1), _Point(across=1)} == {_Point(across=1)}
    assert repr(_Point(across=1)) == "_Point(across=1, down=0)"
    assert replace(_Point(across=1), down=3) == _Point(across=1, down=3)


def test_a_value_is_made_by_the_names_of_its_fields_and_has_no_others() -> None:
    with pytest.raises(TypeError):
        _Point(1)  # type: ignore[call-arg]
    assert not hasattr(_Point(across=1), "__dict__")


def test_assigning_to_a_field_of_a_value_is_an_error_of_the_type_checker(tmp_path: Path) -> None:
    code = tmp_path / "assigns.py"
    code.write_text(
        "from shared.values import value\n\n\n"
        "@value\nclass Point:\n    across: int\n\n\n"
        "Point(across=1).across = 2\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert 'Property "across" defined in "Point" is read-only' in checked.stdout
