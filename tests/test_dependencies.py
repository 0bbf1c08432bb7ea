"""What is installed is what the locks in ``requirements/`` say, and they cover what ``pyproject.toml`` asks for."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("web", "dev", "docs", "bench")  # each for the extra of its name
PIN = re.compile(
    r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+?)(?: *;[^\\]*)?((?: \\\n +--hash=sha256:[0-9a-f]{64})*)$", re.M
)

# --- what a lock must hold -----------------------------------------------------------------------------


def wanted(project: dict[str, object], extra: str) -> list[Requirement]:
    """Return what the package needs with an extra, and what makes the package itself."""
    about = project["project"]
    assert isinstance(about, dict)
    texts = [*about["dependencies"], *about["optional-dependencies"][extra]]
    found = [Requirement(text) for text in texts]
    ours = [it for it in found if it.name == about["name"]]
    inner = [deeper for it in ours for name in it.extras for deeper in wanted(project, name)]
    build = project["build-system"]
    assert isinstance(build, dict)
    return [it for it in found if it not in ours] + inner + [Requirement(text) for text in build["requires"]]


def read(lock: str) -> list[tuple[str, str, frozenset[str]]]:
    """Return name, version and hashes of each pin. A name may have several, for several Pythons."""
    pins = PIN.findall(lock)
    return [
        (canonicalize_name(name), version, frozenset(hashes.split(" \\\n")[1:]))
        for name, version, hashes in pins
    ]


def problems(pyproject: str, locks: dict[str, str]) -> list[str]:
    """Return what is wrong with the locks: what each lacks, and what would not be the same file everywhere."""
    project = tomllib.loads(pyproject)
    found = []
    for file in LOCKS:
        pins = read(locks[file])
        lines = [line for line in locks[file].splitlines() if not line.lstrip().startswith(("#", "--hash="))]
        found += [
            f"{file}: {line} is not a pin"
            for line in lines
            if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ ", line)
        ]
        found += [f"{file}: {name} {version} has no hash" for name, version, hashes in pins if not hashes]
        found += [
            f"{file}: {word} is of one place"
            for word in ("://", "file:", "/home/", "--index")
            if word in locks[file]
        ]
        if len(pins) != len(lines):
            found.append(f"{file}: {len(lines)} lines, {len(pins)} of them understood")
        for need in wanted(project, file):
            versions = [version for name, version, _ in pins if name == canonicalize_name(need.name)]
            if not versions or not all(
                need.specifier.contains(version, prereleases=True) for version in versions
            ):
                found.append(f"{file}: {need} is not met by {versions or 'anything'}")
    outside = set(read(locks["web"]) + read(locks["docs"])) - set(read(locks["dev"]))
    return found + [
        f"dev, which is audited, has another {name} than {version}" for name, version, _ in outside
    ]


def current() -> tuple[str, dict[str, str]]:
    return (
        (ROOT / "pyproject.toml").read_text(),
        {file: (ROOT / "requirements" / f"{file}.txt").read_text() for file in LOCKS},
    )


def test_the_locks_cover_every_dependency_with_hashes() -> None:
    assert problems(*current()) == [], "run scripts/lock"


def test_every_extra_that_a_script_installs_has_a_lock() -> None:
    for script in (ROOT / "scripts").iterdir():
        for extra in re.findall(r'^make_environment "?(\w*)"?$', script.read_text(), re.M):
            assert extra in LOCKS, f"{script}: requirements/{extra}.txt is missing"


def test_what_makes_the_package_is_locked_from_its_own_list() -> None:
    lines = (ROOT / "requirements" / "build.in").read_text().splitlines()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert set(build) <= {line.partition("  #")[0] for line in lines}


def test_the_language_server_is_locked_with_all_that_it_brings() -> None:
    lock = json.loads((ROOT / "requirements" / "package-lock.json").read_text())
    asked = json.loads((ROOT / "requirements" / "package.json").read_text())["dependencies"]
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert lock["packages"][""]["dependencies"] == asked
    for name, about in packages.items():
        assert about["integrity"].startswith("sha512-"), name
        assert "resolved" not in about, f"{name}: an address of one registry"


Change = Callable[[str, dict[str, str]], tuple[str, dict[str, str]]]


def in_lock(file: str, old: str, new: str) -> Change:
    return lambda project, locks: (
        project,
        {**locks, file: re.sub(old, new, locks[file], count=1, flags=re.M)},
    )


def in_project(old: str, new: str) -> Change:
    return lambda project, locks: (project.replace(old, new, 1), locks)


STALE = {
    "web: tinydb>=4 is not met by anything": in_project('dependencies = [\n', 'dependencies = [\n  "tinydb>=4",\n'),
    "web: click>=99": in_project("click>=8.1", "click>=99"),
    "docs: mkdocs<4,>=3": in_project("mkdocs>=1.6,<2", "mkdocs>=3,<4"),
    "bench: dynaconf>=99": in_project('"dynaconf"', '"dynaconf>=99"'),
    "dev: tinydb is not met": in_project('optional-dependencies]\ndev = [\n', 'optional-dependencies]\ndev = [\n  "tinydb",\n'),
    "dev: hatchling>=99": in_project("hatchling>=1.25", "hatchling>=99"),
    "web: rich": in_lock("web", r"^rich==.*(\n    --hash.*)*\n", ""),
    "has no hash": in_lock("web", r"^(click==\S+) \\(\n    --hash.*)*", r"\1"),
    "of them understood": in_lock("web", r"^(click==\S+) .*\n.*", r"\1 \\\n    --hash=md5:0123"),
    "is not a pin": in_lock("bench", r"^click==", "click>="),
    "file: is of one place": in_lock("dev", r"^click==\S+", "click @ file:///opt/click.whl"),
    "dev, which is audited, has another click": in_lock("web", r"^click==\S+", "click==8.2.0"),
}  # fmt: skip


@pytest.mark.parametrize("said", STALE)
def test_a_lock_that_went_stale_is_told(said: str) -> None:
    assert any(said in line for line in problems(*STALE[said](*current()))), problems(
        *STALE[said](*current())
    )


# --- what the scripts do with it ------------------------------------------------------------------------


def wheel(folder: Path) -> str:
    """Make a package of one empty module; return the hash of its file."""
    folder.mkdir()
    file = folder / "tiny_lock-1-py3-none-any.whl"
    about = "tiny_lock-1.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_lock.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-lock\nVersion: 1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{about}/RECORD", f"tiny_lock.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n"
        )
    return sha256(file.read_bytes()).hexdigest()


def install(tmp_path: Path, line: str, script: str) -> subprocess.CompletedProcess[str]:
    """Install from a lock of one line, the way the scripts do, out of a folder."""
    place = tmp_path / "place"
    shutil.rmtree(place, ignore_errors=True)
    (place / "scripts").mkdir(parents=True)
    (place / "requirements").mkdir()
    (place / "scripts" / "_environment.sh").write_text(script)
    (place / "requirements" / "web.txt").write_text(line)
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    return subprocess.run(
        ["bash", "-c", 'source scripts/_environment.sh; PYTHON=$0; install_locked web', sys.executable],
        env={**os.environ, **pip, "PIP_TARGET": str(place / "installed")},
        cwd=place, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_an_install_takes_no_file_but_those_of_the_lock(tmp_path: Path) -> None:
    right = wheel(tmp_path / "wheels")
    script = (ROOT / "scripts" / "_environment.sh").read_text()
    installed = tmp_path / "place" / "installed" / "tiny_lock.py"
    done = install(tmp_path, f"tiny-lock==1 --hash=sha256:{right}\n", script)
    assert (done.returncode, installed.exists()) == (0, True), done.stderr
    done = install(tmp_path, f"tiny-lock==1 --hash=sha256:{right[::-1]}\n", script)
    assert (done.returncode, installed.exists()) == (1, False)
    assert "DO NOT MATCH THE HASHES" in done.stderr
    done = install(tmp_path, "tiny-lock==1\n", script)
    assert (done.returncode, installed.exists()) == (1, False)
    assert "all requirements must have a hash" in done.stderr or "Hashes are required" in done.stderr
    # the planted bug: without the option a line that lost its hash is installed
    assert script.count(" --require-hashes") == 1
    done = install(tmp_path, "tiny-lock==1\n", script.replace(" --require-hashes", ""))
    assert (done.returncode, installed.exists()) == (0, True), done.stderr


def test_nothing_else_is_installed_with_pip() -> None:
    """The package itself comes without dependencies and without an environment that pip would fill by itself."""
    text = "\n".join(file.read_text() for file in (ROOT / "scripts").iterdir() if file.is_file())
    installs = re.findall(r"^.*\bpip install.*$", text, re.M)
    assert installs
    for line in installs:
        assert "--require-hashes" in line or ("--no-deps --no-build-isolation --editable ." in line), line


def test_an_environment_is_never_made_from_one_that_may_be_deleted(tmp_path: Path) -> None:
    """Whoever has activated ``.venv-dev`` has its ``python3`` first; it is gone by the time a new one is made."""
    venv.create(tmp_path / "active", with_pip=False)
    script = (ROOT / "scripts" / "_environment.sh").read_text()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "_environment.sh").write_text(script)
    done = subprocess.run(
        ["bash", "-c", "source scripts/_environment.sh; find_python"],
        env={**os.environ, "PATH": f"{tmp_path}/active/bin:{os.environ['PATH']}", "PARAMSTORE_PYTHON": ""},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()) == Path(sys._base_executable).resolve()  # type: ignore[attr-defined]


# --- the audit -----------------------------------------------------------------------------------------

VULNERABLE = {"id": "PLANTED-1", "summary": "planted", "affected": []}


@contextmanager
def service(says: Callable[[str], int | bool]) -> Iterator[str]:
    """Serve what osv.dev serves: the vulnerabilities of a package (or a status other than 200)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = says(asked["package"]["name"])
            found = {"vulns": [VULNERABLE]} if answer is True else {}
            status = 200 if isinstance(answer, bool) else answer
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


KNOWN = "urllib3"
AUDITS: dict[str, tuple[Callable[[str], int | bool], int, str]] = {
    "clean": (lambda name: name == KNOWN, 0, "No known vulnerabilities found"),
    "a finding": (lambda name: name in (KNOWN, "click"), 1, "PLANTED-1"),
    "knows nothing at all": (lambda name: False, 3, "NOT AUDITED"),
    "fails for one package": (lambda name: 503 if name == "click" else name == KNOWN, 3, "NOT AUDITED"),
}


@pytest.mark.parametrize("what", [*AUDITS, "out of reach"])
def test_the_audit_tells_found_from_nothing_found_and_from_not_asked(what: str, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    if not (binaries / "pip-audit").exists():
        pytest.skip("pip-audit is missing; it comes with the extra `dev`")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "scripts" / "audit", tmp_path / "scripts")
    alone = 'set -euo pipefail\ncd "$(dirname "${BASH_SOURCE[0]}")/.."\nmake_environment() { :; }\n'
    (tmp_path / "scripts" / "_environment.sh").write_text(alone)
    for name, package in {"dev": "click==8.5.1", "bench": "rich==15.0.0"}.items():
        (tmp_path / "requirements" / f"{name}.txt").write_text(f"{package} --hash=sha256:{'0' * 64}\n")
    says, status, words = AUDITS.get(what, (lambda name: 503, 3, "NOT AUDITED"))
    with service(says) as url:
        done = subprocess.run(
            ["bash", str(tmp_path / "scripts" / "audit"), "--osv-url", url if what in AUDITS else "http://127.0.0.1:9/"],
            env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, words in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
