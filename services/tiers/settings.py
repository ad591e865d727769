"""Settings of tiers, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import settings
from shared.settings import ServiceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServiceSettings):
    """What tiers is told; it has no settings of its own."""

    database_url: str = "sqlite:///var/tiers.db"
    listen: str = "127.0.0.1:50052"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings of tiers; raises BadSettings."""
    return settings.load(Settings, environ, "tiers")
