"""Settings: typed, read once, and complaining about what they do not know."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.settings import BadSettings, ServiceSettings, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(ServiceSettings):
    database_url: str = "sqlite:///var/tiers.db"
    listen: str = "127.0.0.1:50052"
    secret_file: Path = Path("var/key")
    review: timedelta = timedelta(minutes=5)
    strict: bool = False


def test_every_setting_has_a_working_default() -> None:
    settings = load(Sample, {}, "tiers")
    assert settings == Sample()
    assert settings.partitions == 16
    assert settings.clock_start_time == datetime(2000, 1, 1, tzinfo=UTC)


def test_values_are_typed() -> None:
    settings = load(
        Sample,
        {
            "GUERDON_PARTITIONS": "64",
            "GUERDON_CLOCK": "simulated",
            "GUERDON_CLOCK_START": "2011-01-04",
            "GUERDON_TIERS_LANES": "2",
            "GUERDON_TIERS_SECRET_FILE": "/run/key",
            "GUERDON_TIERS_REVIEW": "1.5",
            "GUERDON_TIERS_STRICT": "Yes",
            "GUERDON_EARNING_ADDRESS": "earning:50051",
            "PATH": "/bin",
        },
        "tiers",
    )
    assert settings.partitions == 64
    assert settings.clock_start_time == datetime(2011, 1, 4, tzinfo=UTC)
    assert settings.lanes == 2
    assert settings.secret_file == Path("/run/key")
    assert settings.review == timedelta(seconds=1.5)
    assert settings.strict
    assert settings.earning_address == "earning:50051"


@pytest.mark.parametrize("key", ["GUERDON_TIERS_LANSE", "GUERDON_LANES", "GUERDON_TIER_LANES"])
def test_an_unknown_key_is_an_error_that_names_the_known_ones(key: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load(Sample, {key: "1"}, "tiers")
    assert key in str(refused.value)
    assert "GUERDON_TIERS_LANES" in str(refused.value)


def test_the_keys_of_other_services_and_of_the_tests_are_theirs() -> None:
    environ = {"GUERDON_EARNING_LANES": "3", "GUERDON_TEST_POSTGRES_URL": "postgresql://x"}
    assert load(Sample, environ, "tiers") == Sample()


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("GUERDON_PARTITIONS", "12", "a power of two from 1 to 256"),
        ("GUERDON_PARTITIONS", "512", "a power of two from 1 to 256"),
        ("GUERDON_PARTITIONS", "0", "a power of two from 1 to 256"),
        ("GUERDON_PARTITIONS", "many", "a whole number"),
        ("GUERDON_CLOCK", "sundial", "system or simulated"),
        ("GUERDON_CLOCK_START", "yesterday", "no ISO instant"),
        ("GUERDON_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("GUERDON_LOG_FORMAT", "xml", "json or console"),
        ("GUERDON_TIERS_LANES", "0", "at least 1"),
        ("GUERDON_TIERS_STRICT", "maybe", "true or false"),
        ("GUERDON_TIERS_REVIEW", "soon", "a number of seconds"),
    ],
)
def test_a_wrong_value_is_an_error_that_says_what_would_be_right(
    key: str, text: str, words: str
) -> None:
    with pytest.raises(BadSettings, match=words):
        load(Sample, {key: text}, "tiers")


def test_what_has_no_default_is_asked_for() -> None:
    with pytest.raises(
        BadSettings, match="tiers needs GUERDON_TIERS_DATABASE_URL, GUERDON_TIERS_LISTEN"
    ):
        load(ServiceSettings, {}, "tiers")
