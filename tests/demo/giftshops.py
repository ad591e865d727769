"""Small gift shops for tests: parts of the real file, and what the model says of them."""

import csv
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "programs" / "giftshop" / "data" / "online_retail_sample.csv"
OUTSIDE_THE_MODEL = ("verify_violations", "seconds")


def part(path: Path, customers: int) -> Path:
    """Write the rows of every n-th customer, so that about `customers` of them are left."""
    with FILE.open(newline="", encoding="utf-8") as source:
        header, *rows = list(csv.reader(source))
    numbers = sorted({row[7] for row in rows})
    kept = set(numbers[:: max(1, len(numbers) // customers)])
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(header)
        writer.writerows(row for row in rows if row[7] in kept)
    return path


def modelled(path: Path) -> Mapping[str, object]:
    """What the sequential model says of a file."""
    spec = importlib.util.spec_from_file_location(
        "giftshop_oracle", ROOT / "tests" / "oracle" / "giftshop.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Mapping[str, object]", module.summary(path))


def comparable(summary: Mapping[str, object]) -> Mapping[str, object]:
    """A summary without what the model does not say."""
    return {key: value for key, value in summary.items() if key not in OUTSIDE_THE_MODEL}
