"""Settings: one frozen dataclass per service, read once from the environment.

A key that nobody knows is an error.

Common settings are `GUERDON_<FIELD>`, those of one service `GUERDON_<SERVICE>_<FIELD>`.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar, get_type_hints

SERVICES = ("earning", "tiers", "redemption", "gamification")
_PREFIX = "GUERDON_"
# What the test suite is told, and the services that it starts are not asked about.
_TESTS = "GUERDON_TEST_"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}

S = TypeVar("S", bound="ServiceSettings")


class BadSettings(Exception):
    """The environment cannot be understood; says which key, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What every service is told. Fields marked common have no service in their key."""

    COMMON: ClassVar[frozenset[str]] = frozenset(
        {
            "partitions",
            "clock",
            "clock_start",
            "log_level",
            "log_format",
            "redis_url",
            *(f"{service}_address" for service in SERVICES),
        }
    )

    #: Number of partitions, a power of two up to 256; fixed when the database is created.
    partitions: int = 16
    #: "system" or "simulated".
    clock: str = "system"
    #: The instant at which a new simulated clock starts (ISO 8601).
    clock_start: str = "2000-01-01T00:00:00Z"
    #: "debug", "info", "warning" or "error".
    log_level: str = "info"
    #: "json" or "console".
    log_format: str = "json"
    #: The server that holds the leaderboards.
    redis_url: str = "redis://127.0.0.1:6379/0"
    #: Where the other services reach earning.
    earning_address: str = "127.0.0.1:50051"
    #: Where the other services reach tiers.
    tiers_address: str = "127.0.0.1:50052"
    #: Where the other services reach redemption.
    redemption_address: str = "127.0.0.1:50053"
    #: Where the other services reach gamification.
    gamification_address: str = "127.0.0.1:50054"
    #: sqlite:///path or postgresql://user:password@host/database.
    database_url: str
    #: host:port to listen on.
    listen: str
    #: Listen though another socket of the same user is bound to the port, and lets it be shared.
    reuse_port: bool = False
    #: Port of the Prometheus endpoint on the host that is listened on; 0 turns it off.
    metrics_port: int = 0
    #: The most transactions in flight at once; SQLite always has one.
    lanes: int = 3
    #: The most commands in one transaction.
    batch_max: int = 256
    #: The most commands that wait; further callers are refused at once.
    queue_max: int = 10_000
    #: The most calls in work at once; further callers are refused at once.
    concurrency_max: int = 1_000
    #: Seconds that calls in work are given when the service stops.
    stop_grace: int = 10
    #: Days for which a request that is sent again gets the answer of the first time; at least 30.
    key_days: int = 30

    @property
    def clock_start_time(self) -> datetime:
        """The instant at which a new simulated clock starts."""
        start = datetime.fromisoformat(self.clock_start)
        return start if start.tzinfo else start.replace(tzinfo=UTC)


def load(cls: type[S], environ: Mapping[str, str], service: str) -> S:
    """Read the settings of a service; raises BadSettings."""
    hints = get_type_hints(cls)
    keys = {_key(field, service): field for field in fields(cls)}
    values: dict[str, object] = {}
    for key, text in environ.items():
        if not key.startswith(_PREFIX):
            continue
        field = keys.get(key)
        if field is not None:
            values[field.name] = _value(key, text, hints[field.name])
        elif not _is_of_another(key, service):
            known = ", ".join(sorted(keys))
            raise BadSettings(f"{key} is no setting of {service}; its settings are {known}")
    missing = [
        key for key, field in keys.items() if field.name not in values and field.default is MISSING
    ]
    if missing:
        raise BadSettings(f"{service} needs {', '.join(missing)}")
    make: Callable[..., S] = cls
    return _checked(make(**values))


def _key(field: "Field[object]", service: str) -> str:
    if field.name in ServiceSettings.COMMON:
        return _PREFIX + field.name.upper()
    return f"{_PREFIX}{service.upper()}_{field.name.upper()}"


def _is_of_another(key: str, service: str) -> bool:
    """Whether a key is for another service, which checks it itself."""
    others = tuple(f"{_PREFIX}{other.upper()}_" for other in SERVICES if other != service)
    return key.startswith((*others, _TESTS))


def _value(key: str, text: str, kind: object) -> object:
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise BadSettings(f"{key}={text!r} must be a whole number") from None
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise BadSettings(f"{key}={text!r} must be true or false")
    if kind is timedelta:
        try:
            return timedelta(seconds=float(text))
        except (ValueError, OverflowError):
            raise BadSettings(f"{key}={text!r} must be a number of seconds") from None
    return Path(text) if kind is Path else text


def _checked(settings: S) -> S:
    partitions = settings.partitions
    wrong = (
        (
            not 1 <= partitions <= 256 or partitions & (partitions - 1) != 0,
            f"GUERDON_PARTITIONS={partitions} must be a power of two from 1 to 256",
        ),
        (
            settings.clock not in {"system", "simulated"},
            f"GUERDON_CLOCK={settings.clock!r} must be system or simulated",
        ),
        (
            settings.log_level not in {"debug", "info", "warning", "error"},
            f"GUERDON_LOG_LEVEL={settings.log_level!r} must be debug, info, warning or error",
        ),
        (
            settings.log_format not in {"json", "console"},
            f"GUERDON_LOG_FORMAT={settings.log_format!r} must be json or console",
        ),
        (
            min(settings.lanes, settings.batch_max, settings.queue_max, settings.concurrency_max)
            < 1,
            "lanes, batch_max, queue_max and concurrency_max must be at least 1",
        ),
        (not 30 <= settings.key_days <= 36_500, "key_days must be from 30 to 36500"),
    )
    for is_wrong, text in wrong:
        if is_wrong:
            raise BadSettings(text)
    try:
        _ = settings.clock_start_time
    except ValueError:
        raise BadSettings(
            f"GUERDON_CLOCK_START={settings.clock_start!r} is no ISO instant"
        ) from None
    return settings
