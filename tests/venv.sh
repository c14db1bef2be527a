# Read by tests/run and examples/run: makes a virtual environment with whatever this machine has.

say() { printf '%s\n' "$*" >&2; }

as_root_apt() { # install Debian packages; fails where that is not possible
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    set -- -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends "$@"  # another may be at it
    apt-get install "$@" >&2 ||
        { apt-get update -qq >&2 && apt-get install "$@" >&2; }
}

find_python() { # prints a Python that is new enough; PYTHON overrides
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "No Python 3.11 or newer is here. Type: sudo apt-get install -y python3 python3-venv"
    return 1
}

can_make_venv() { # can_make_venv DIRECTORY: it works already, or can be made without more packages
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python 2>/dev/null) || return 1
    "$python" -c 'import ensurepip' 2>/dev/null || "$python" -m pip --version >/dev/null 2>&1
}

make_venv() { # make_venv DIRECTORY: with pip inside; an existing one that works is kept
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python) || return 1
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if "$python" -m pip --version >/dev/null 2>&1; then
            # Debian's Python without python3-venv, but with pip: pip fills the environment from outside.
            "$python" -m venv --clear --without-pip "$1" &&
                "$python" -m pip --quiet --python "$1/bin/python" install pip && return
        fi
        if ! as_root_apt python3-venv; then
            say "This Python cannot make virtual environments. Type: sudo apt-get install -y python3-venv"
            return 1
        fi
    fi
    "$python" -m venv --clear "$1"
}
