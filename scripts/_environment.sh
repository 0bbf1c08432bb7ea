# Sourced by the other scripts: make the project's own environment once, and again when its needs change.
# Gives $PYTHON (3.11 or newer, in .venv) and `need_system COMMAND PACKAGE`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

find_python() {
  for name in "${PARAMSTORE_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "error: Python 3.11 or newer with venv is needed; set PARAMSTORE_PYTHON to one." >&2
  exit 2
}

# make_environment EXTRA: install the project with an extra ("" for none) into .venv
make_environment() {
  local folder=".venv${1:+-$1}" base stamp
  base=$(find_python)
  stamp="$1 $base $(cksum <pyproject.toml)"
  PYTHON="$PWD/$folder/bin/python"
  if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || ! "$PYTHON" -c 'import paramstore' 2>/dev/null; then
    echo "Making the environment in $folder ..." >&2
    rm -rf "$folder"
    "$base" -m venv "$folder"
    "$PYTHON" -m pip install --quiet --editable ".${1:+[$1]}"
    echo "$stamp" >"$folder/stamp"
  fi
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

# need_language_server: what editors show in a values file is tested with the public server for YAML, in this version
need_language_server() {
  local version=2.0.0 folder
  folder=$("$PYTHON" -c 'import sys; print(sys.prefix)')/node
  grep -qs "\"version\": \"$version\"" "$folder/node_modules/yaml-language-server/package.json" && return
  command -v npm >/dev/null 2>&1 &&
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" "yaml-language-server@$version" >/dev/null 2>&1 ||
    echo "note: no yaml-language-server $version (node and npm are needed); tests of editors will be skipped" >&2
}
