"""Mutation testing: thousands of copies of the rules, the records and the transaction, each with one small thing changed. A
copy that no test fails on is a survivor: a hole in the tests, or a change that makes no difference.

    scripts/proof mutations [--sample 800] [--seed 1] [--jobs 1] [--folder FOLDER]

Which modules and which tests is in ``pyproject.toml`` (``tool.mutmut``). Works on a copy in memory, with ``mutmut`` in an
environment of its own there; ``--folder`` names a place that is kept, and an interrupted run goes on from it. Survivors that
make no difference are listed with the reason in ``mutation_survivors.txt``; ends with 1 if any other is found.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plainstore import fast_folder

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "tests" / "mutation_survivors.txt"
MUTMUT = "mutmut==3.8.1"
SECTION = re.compile(r"\[(?P<sort>[a-z ]+)\] (?P<reason>.+)")
MARK = " # type: ignore # mutmut generated"
NAMES = """
import sys, pathlib
from mutmut.mutation.file_mutation import mutate_file_contents
for file in sys.argv[1:]:
    module = file.removesuffix(".py").replace("/", ".")
    for name in mutate_file_contents(file, pathlib.Path(file).read_text()).mutant_names:
        print(f"{module}.{name}")
"""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Mutant(NamedTuple):
    """One mutant: ``function`` as ``_rules.judge_all``, ``change`` as ``old line -> new line``."""

    name: str
    status: str
    function: str
    change: str


class Listed(NamedTuple):
    """One line of the list: a pattern in which ``*`` stands for anything."""

    sort: str
    reason: str
    pattern: str

    def fits(self, mutant: Mutant) -> bool:
        parts = map(re.escape, self.pattern.split("*"))
        return re.fullmatch(".*".join(parts), f"{mutant.function}: {mutant.change}", re.DOTALL) is not None


def read_list(text: str) -> list[Listed]:
    """Return the survivors that are explained: a line with sort and reason, then a line for each pattern."""
    found: list[Listed] = []
    sort = reason = ""
    for line in text.splitlines():
        if section := SECTION.fullmatch(line):
            sort, reason = section["sort"], section["reason"]
        elif line.strip() and not line.startswith("#"):
            found.append(Listed(sort, reason, line.strip()))
    return found


def explained(mutants: Iterable[Mutant], listed: Iterable[Listed]) -> dict[Mutant, Listed | None]:
    """Return the survivors, each with the line of the list that explains it."""
    listed = list(listed)
    alive = (mutant for mutant in mutants if mutant.status in ("survived", "no tests"))
    return {mutant: next((line for line in listed if line.fits(mutant)), None) for mutant in alive}


# --- the run ------------------------------------------------------------------------------------


def settings() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    return found


def prepare(folder: Path) -> Path:
    """Make the copy, and the environment with mutmut beside this one's packages; return its Python."""
    for name in ("paramstore", "tests", "pyproject.toml", *settings()["also_copy"]):
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    python = folder / "environment" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "environment")], check=True)
        site = next((folder / "environment").glob("lib/python*/site-packages"))
        (site / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--quiet", MUTMUT], check=True)
    return python


def run(folder: Path, python: Path, jobs: int, sample: int | None, seed: int) -> set[str] | None:
    """Run all mutants, or a sample of them; return the names of the sample."""
    chosen: list[str] = []
    if sample:
        words = [str(python), "-c", NAMES, *settings()["only_mutate"]]
        names = subprocess.run(
            words, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.split()
        chosen = random.Random(seed).sample(sorted(names), min(sample, len(names)))
        say(f"{len(chosen)} of {len(names)} mutants, seed {seed}")
    killed = _try_survivors_again(folder)
    left = [name for name in chosen if name not in killed]
    if chosen and not left:
        return set(chosen)
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("PYTHONPATH", None)  # the copy's own come first
    words = [str(python), "-m", "mutmut", "run", "--max-children", str(jobs), *left]
    with (folder / "mutmut.log").open("w") as log:
        done = subprocess.run(words, cwd=folder, env=environ, stdout=log, stderr=log, check=False)
    if done.returncode:
        sys.exit(f"mutmut ended with {done.returncode}; see {folder / 'mutmut.log'}")
    return set(chosen) or None


def _try_survivors_again(folder: Path) -> set[str]:
    """Forget what an earlier run did not kill, as there may be other tests now; return the names of the killed."""
    killed: set[str] = set()
    for meta in folder.glob("mutants/paramstore/**/*.py.meta"):
        data = json.loads(meta.read_text())
        codes = data["exit_code_by_key"]
        data["exit_code_by_key"] = {name: code if code == 1 else None for name, code in codes.items()}
        killed |= {name for name, code in codes.items() if code == 1}
        meta.write_text(json.dumps(data))
    return killed


# --- what came of it ----------------------------------------------------------------------------


def results(folder: Path, statuses: Mapping[int | None, str]) -> Iterator[Mutant]:
    """Yield every mutant that was run, with what it changes if it lives."""
    for meta in sorted(folder.glob("mutants/paramstore/**/*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        written = meta.with_suffix("").read_text()
        lines = [line.removesuffix(MARK).strip() for line in written.split("\n")]
        nodes = (node for node in ast.walk(ast.parse(written)) if isinstance(node, ast.FunctionDef))
        source = {
            node.name: lines[node.lineno : node.end_lineno] for node in nodes if "__mutmut_" in node.name
        }
        for name, code in codes.items():
            module, _, mangled = name.rpartition(".")
            function = re.sub(r"^x(_|ǁ)", "", re.sub(r"__mutmut_\d+$", "", mangled)).replace("ǁ", ".")
            original = re.sub(r"__mutmut_\d+$", "__mutmut_orig", mangled)
            status = statuses.get(code, f"ended with {code}")
            change = _change(source[original], source[mangled]) if status != "killed" else ""
            yield Mutant(name, status, f"{module.removeprefix('paramstore.')}.{function}", change)


def _change(old: list[str], new: list[str]) -> str:
    lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
    before = " ".join(line[1:] for line in lines if line.startswith("-"))
    after = " ".join(line[1:] for line in lines if line.startswith("+"))
    return f"{before} -> {after}"


def interval(part: int, whole: int) -> tuple[float, float]:
    """Return Wilson's interval for a share of a sample, at 95 %."""
    z, share = 1.96, part / whole
    middle = share + z * z / (2 * whole)
    reach = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return tuple((middle + sign * reach) / (1 + z * z / whole) for sign in (-1, 1))  # type: ignore[return-value]


KILLED = ("killed", "timeout", "segfault", "caught by type check")


def report(mutants: list[Mutant], listed: list[Listed], is_sample: bool) -> int:
    """Print the table and what is not explained; return the exit status."""
    survivors = explained(mutants, listed)
    say(f"{'module':<32} {'mutants':>8} {'killed':>8} {'timed out':>10} {'survived':>9} {'explained':>10}")
    groups = {mutant.function.partition(".")[0]: [] for mutant in mutants} | {"all": mutants}  # type: ignore[var-annotated]
    for mutant in mutants:
        groups[mutant.function.partition(".")[0]].append(mutant)
    for module, mine in groups.items():
        count = Counter(mutant.status for mutant in mine)
        lives = [mutant for mutant in mine if mutant in survivors]
        known = sum(survivors[mutant] is not None for mutant in lives)
        say(
            f"{module:<32} {len(mine):>8} {count['killed']:>8} {count['timeout']:>10} {len(lives):>9} {known:>10}"
        )
    killed = sum(mutant.status in KILLED for mutant in mutants)
    low, high = interval(killed, len(mutants))
    estimate = f" (of all: {low:.1%} to {high:.1%}, at 95 %)" if is_sample else ""
    say(f"killed: {killed / len(mutants):.1%} of {len(mutants)}{estimate}")
    for sort, number in sorted(Counter(line.sort for line in survivors.values() if line).items()):
        say(f"  survived, {sort}: {number}")
    unknown = [mutant for mutant, line in survivors.items() if line is None]
    unknown += [mutant for mutant in mutants if mutant.status not in (*KILLED, "survived", "no tests")]
    for mutant in unknown:
        say(f"{mutant.status}: {mutant.name}\n    {mutant.function}: {mutant.change}")
    unused = [] if is_sample else [line for line in listed if not any(map(line.fits, survivors))]
    for line in unused:
        say(f"listed, but no survivor: {line.pattern}")
    return 1 if unknown or unused else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, help="so many mutants, taken at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--folder", type=Path, help="where the copy is, which is kept")
    parser.add_argument(
        "--report", action="store_true", help="only show what an earlier run in --folder came to"
    )
    given = parser.parse_args()
    folder = given.folder.resolve() if given.folder else fast_folder("mutations-")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        chosen = None
        if not given.report:
            chosen = run(folder, prepare(folder), given.jobs, given.sample, given.seed)
        python = folder / "environment" / "bin" / "python"
        code = "import json; from mutmut.stats import status_by_exit_code as s; print(json.dumps(list(s.items())))"
        pairs = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout
        mutants = list(results(folder, dict(json.loads(pairs))))
        ran = [m for m in mutants if (m.name in chosen if chosen else m.status != "not checked")]
        return report(ran, read_list(LISTED.read_text()), is_sample=len(ran) < len(mutants))
    finally:
        if not given.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
