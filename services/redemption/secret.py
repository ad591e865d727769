"""The installation's secret behind voucher codes: a file that only its owner may read."""

import os
from pathlib import Path

from shared.ids import Ids

_BYTES = 32


class BadSecretError(Exception):
    """The file has no secret in it; says which file."""


def load_secret(path: Path, ids: Ids) -> bytes:
    """Read the secret, or make it when there is none; raises BadSecretError for a short one.

    Processes that start at once get the same: the file appears whole or not at all, and the first
    one stands.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{ids.new()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(ids.secret(_BYTES))
            file.flush()
            os.fsync(handle)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # another process was faster, and its secret is the one
        finally:
            draft.unlink()
    secret = path.read_bytes()
    if len(secret) < _BYTES:
        raise BadSecretError(f"{path} must have at least {_BYTES} random bytes")
    return secret
