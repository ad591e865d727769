#!/usr/bin/env bash
# Makes .venv with everything in requirements-dev.lock, and the project itself in place.
# It needs Python 3.11 or newer and a package registry, nothing else; a second run repairs the first.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bootstrap: %s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say "no Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3.11"
    exit 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    if ! "$python" -m venv --clear .venv; then
        say "this Python has no venv; on Debian and Ubuntu it is the package python3-venv"
        exit 1
    fi
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(.venv/bin/python -m pip)

install_with_uv() {
    # uv installs in seconds what takes pip a minute, but does not know pip's settings:
    # where pip is told to use another registry, pip does it all.
    if "${pip[@]}" config list | grep -Eq '\.(index-url|no-index)='; then
        return 1
    fi
    local only_uv=.venv/uv.lock.txt
    sed -n '/^uv==/,/[^\\]$/p' requirements-dev.lock >"$only_uv"
    "${pip[@]}" install --quiet --require-hashes --no-deps -r "$only_uv" &&
        .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements-dev.lock
}

say "installing requirements-dev.lock"
install_with_uv || "${pip[@]}" install --quiet --require-hashes -r requirements-dev.lock
"${pip[@]}" install --quiet --no-deps --no-build-isolation --editable .
touch .venv/.installed
