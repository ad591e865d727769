"""Settings of redemption, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared import settings
from shared.settings import ServiceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServiceSettings):
    """What redemption is told."""

    database_url: str = "sqlite:///var/redemption.db"
    listen: str = "127.0.0.1:50053"
    #: The file with the secret of voucher codes; made with 32 random bytes when it is not there.
    #: All copies of the service must have the same; who loses it can show no issued code again.
    secret_file: Path = Path("var/voucher.key")


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings of redemption; raises BadSettings."""
    return settings.load(Settings, environ, "redemption")
