"""The secret of voucher codes: made once, read by all copies of the service."""

from pathlib import Path

import pytest

from services.redemption.secret import BadSecretError, load_secret
from shared.ids import SeededIds


def test_the_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "voucher.key"
    first = load_secret(path, SeededIds(1))
    assert load_secret(path, SeededIds(2)) == first
    assert (len(first), path.stat().st_mode & 0o777) == (32, 0o600)
    assert [each.name for each in path.parent.iterdir()] == ["voucher.key"]


def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "voucher.key"
    path.write_bytes(b"secret")
    with pytest.raises(BadSecretError, match=r"voucher\.key"):
        load_secret(path, SeededIds(1))
