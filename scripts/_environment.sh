# Sourced by the other scripts: make the project's own environment once, and again when its needs change.
# Gives $PYTHON (3.11 or newer, in .venv-EXTRA) and `need_system COMMAND PACKAGE`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Prints the interpreter below an active environment: make_environment may be about to delete that environment
find_python() {
  local base='import os, sys, venv, ensurepip; print(os.path.realpath(sys._base_executable)); sys.exit(sys.version_info < (3, 11))'
  local name found
  for name in "${PARAMSTORE_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$name" ] && found=$("$name" -c "$base" 2>/dev/null) && [ -x "$found" ]; then
      echo "$found"
      return
    fi
  done
  echo "error: Python 3.11 or newer with venv is needed; set PARAMSTORE_PYTHON to one." >&2
  exit 2
}

# install_locked EXTRA: install what the project needs with an extra: the versions and files of the lock, no others
install_locked() {
  "$PYTHON" -m pip install --quiet --require-hashes --requirement "requirements/$1.txt"
}

# make_environment EXTRA: install the project with an extra into .venv-EXTRA, or one of its own for a chosen Python
make_environment() {
  local folder=".venv-$1${PARAMSTORE_PYTHON:+-${PARAMSTORE_PYTHON##*/}}" base stamp
  base=$(find_python)
  unset PARAMSTORE_PYTHON # paramstore itself refuses variables that look like its settings and are not
  stamp="$1 $base $("$base" -V) $(cat pyproject.toml "requirements/$1.txt" | cksum)"
  PYTHON="$PWD/$folder/bin/python"
  exec 9>"$folder.lock"
  command -v flock >/dev/null 2>&1 && flock 9 # two scripts may begin at once
  if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || ! "$PYTHON" -c 'import paramstore' 2>/dev/null; then
    echo "Making the environment in $folder ..." >&2
    rm -rf "$folder"
    "$base" -m venv "$folder"
    install_locked "$1"
    "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --editable .
    "$PYTHON" -m pip check --quiet
    echo "$stamp" >"$folder/stamp"
  fi
  exec 9>&-
  PATH="$PWD/$folder/bin:$PATH"
}

# need_system COMMAND PACKAGE: install a system package where we may; else tests that need it say so
need_system() {
  command -v "$1" >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing $2 ..." >&2
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1 || true
  fi
  command -v "$1" >/dev/null 2>&1 || echo "note: $1 is missing; tests that need it will be skipped" >&2
}

# need_etcd: find etcd (not the unsafe one that the tests have in their environment, nor that of another) and name it in ETCD_BINARY,
# or take Debian's file of it into the environment: installed, the package would start a service
need_etcd() {
  local prefix others
  prefix=$("$PYTHON" -c 'import sys; print(sys.prefix)')
  others=$(printf '%s' "$PATH" | tr ':' '\n' | while read -r folder; do [ -e "$folder/../pyvenv.cfg" ] || echo "$folder"; done | paste -sd:)
  ETCD_BINARY=$(PATH="$others" command -v etcd || true)
  if [ -z "$ETCD_BINARY" ] && [ ! -x "$prefix/etcd/usr/bin/etcd" ] && command -v apt-get >/dev/null 2>&1; then
    echo "Fetching etcd-server ..." >&2
    mkdir -p "$prefix/etcd"
    [ "$(id -u)" != 0 ] || apt-get update -qq >/dev/null 2>&1 || true
    (cd "$prefix/etcd" && apt-get download -qq etcd-server >/dev/null 2>&1 && dpkg-deb -x etcd-server_*.deb .) || true
  fi
  [ -n "$ETCD_BINARY" ] || [ ! -x "$prefix/etcd/usr/bin/etcd" ] || ETCD_BINARY=$prefix/etcd/usr/bin/etcd
  if [ -n "$ETCD_BINARY" ]; then export ETCD_BINARY; else
    unset ETCD_BINARY
    echo "note: etcd is missing; tests that need it will be skipped" >&2
  fi
}

# need_language_server: what editors show in a values file is tested with the public server for YAML, of the lock
need_language_server() {
  local folder
  folder=$("$PYTHON" -c 'import sys; print(sys.prefix)')/node
  [ -e "$folder/node_modules/.package-lock.json" ] && cmp -s requirements/package-lock.json "$folder/package-lock.json" && return
  mkdir -p "$folder" && cp requirements/package.json requirements/package-lock.json "$folder"
  command -v npm >/dev/null 2>&1 && npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" >/dev/null 2>&1 ||
    echo "note: no yaml-language-server (node and npm are needed); tests of editors will be skipped" >&2
}
