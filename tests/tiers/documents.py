"""Program documents for the tests of tiers."""

from pathlib import Path
from typing import cast

import yaml
from google.protobuf import json_format

from guerdon.tiers.v1 import program_pb2 as pb

GIFTSHOP = Path(__file__).parents[2] / "programs" / "giftshop" / "tiers.yaml"


def giftshop() -> pb.TiersProgram:
    """The document of the gift shop, from its file."""
    content = cast("dict[str, object]", yaml.safe_load(GIFTSHOP.read_text(encoding="utf-8")))
    return json_format.ParseDict(content, pb.TiersProgram())


def with_stamps() -> pb.TiersProgram:
    """The gift shop with a second ladder, for anything that is paid."""
    document = giftshop()
    stamps = document.ladders.add(ladder_id="stamps", upgrade_effective="UPGRADE_EFFECTIVE_AT_ONCE")
    stamps.levels.add(level_id="none")
    stamps.levels.add(level_id="stamp", net_spend_minor=100)
    stamps.net_spend.SetInParent()
    stamps.rolling_months.months = 1
    return document
