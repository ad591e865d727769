#!/usr/bin/env bash
# Resolves pyproject.toml anew into the committed locks: versions and hashes, no addresses.
set -euo pipefail
cd "$(dirname "$0")/.."

# A lock of uv's own would keep the old versions; it is ignored by git and made anew.
rm -f uv.lock
export UV_NO_PROGRESS=1

lock() {
    local target=$1 content
    shift
    content=$(uv export --quiet --format requirements-txt --no-header --no-annotate --no-emit-project "$@")
    if grep -Eq '://|^-' <<<"$content"; then
        echo "lock: an address got into $target" >&2
        exit 1
    fi
    {
        printf '# Written by make lock (uv export %s).\n' "$*"
        printf '%s\n' "$content"
    } >"$target"
    echo "lock: $target, $(grep -c == "$target") packages"
}

lock requirements.lock --no-dev --no-default-groups
lock requirements-build.lock --only-group build
lock requirements-dev.lock --all-extras --all-groups
