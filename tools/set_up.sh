#!/bin/sh
# Makes .venv what pyproject.toml and requirements.lock say, from nothing but a Python >= 3.11.
#
#   sh tools/set_up.sh [PYTHON]
#
# May be repeated: an environment that is there is brought up to date, one whose Python is gone or
# that was made in another folder is made anew.  The stamp .venv/.set-up is written last and holds
# the folder it is for, so an interrupted set-up is noticed and done again.
set -eu

asked=${1:-}
stamp=.venv/.set-up
here=$(pwd -P)

say() { printf '%s\n' "$*" >&2; }

is_new_enough() {
    # A version manager may put a name on the path that only prints an error: run it to know.
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() {
    too_old='' without_venv=''
    for candidate in ${asked:-python3.11 python3.12 python3.13 python3}; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if ! is_new_enough "$candidate"; then
            too_old=${too_old:-$candidate}
        elif ! can_make_environments "$candidate"; then
            without_venv=${without_venv:-$candidate}
        else
            python=$candidate
            return
        fi
    done
    if [ -n "$without_venv" ]; then
        version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "set-up: $without_venv cannot make virtual environments: its venv or ensurepip module is missing."
        say "        On Debian and Ubuntu: apt-get install python$version-venv"
        say "        Elsewhere install a complete Python, or name another: make PYTHON=/path/to/python3"
    elif [ -n "$too_old" ]; then
        found=$("$too_old" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo "no usable Python")
        say "set-up: Shardpost needs Python 3.11 or newer, and $too_old is $found."
        say "        Install one, or name one: make PYTHON=/path/to/python3.11"
    else
        say "set-up: no Python found (looked for: ${asked:-python3.11 python3.12 python3.13 python3})."
        say "        Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11"
    fi
    exit 1
}

if ! [ -x .venv/bin/python ] || ! is_new_enough .venv/bin/python; then
    find_python
    say "set-up: making .venv with $python"
    "$python" -m venv --clear .venv
elif [ -e "$stamp" ] && [ "$(cat "$stamp")" != "$here" ]; then
    # The environment's scripts name the folder it was made in.
    find_python
    say "set-up: this folder was moved or copied; making .venv anew with $python"
    "$python" -m venv --clear .venv
fi
rm -f "$stamp"

export PIP_DISABLE_PIP_VERSION_CHECK=1
say "set-up: installing what requirements.lock names"
.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
# The lock holds the build's own requirement too, so nothing is fetched that it does not name.
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
printf '%s\n' "$here" >"$stamp"
say "set-up: done"
