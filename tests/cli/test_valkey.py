"""The Valkey server that the command starts for itself."""

from pathlib import Path

import pytest
import redis

from cli import valkey


def test_a_server_keeps_its_data_in_a_folder_that_is_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `guerdon up` and `guerdon demo` name it, whose folder is ./var."""
    monkeypatch.chdir(tmp_path)
    server = valkey.start(Path("var/valkey"))
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set("points", 5)
            assert client.get("points") == b"5"
    finally:
        server.stop()
    kept = {each.name for each in (tmp_path / "var" / "valkey").iterdir()}
    assert "valkey.log" in kept
    assert list(tmp_path.iterdir()) == [tmp_path / "var"]
