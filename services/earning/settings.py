"""Settings of earning, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import settings
from shared.settings import ServiceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServiceSettings):
    """What earning is told; it has no settings of its own."""

    database_url: str = "sqlite:///var/earning.db"
    listen: str = "127.0.0.1:50051"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings of earning; raises BadSettings."""
    return settings.load(Settings, environ, "earning")
