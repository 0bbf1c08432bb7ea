"""What the fuzzers must catch: planted bugs, each in a copy of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants import Mutant, planted, run_on, sample

FUZZ = Path(__file__).parent
LEAKS = (
    ("sealed_journal", 1500, Mutant("a journal entry's hashes are not looked at", "_records.py", "all(map(_are_sums, files.values()))", "True")),
    ("values", 1000, Mutant("only one error of the parser is expected", "_yaml.py", "    except Exception as error:  # noqa: BLE001 - the parser raises", "    except ValueError as error:  # noqa: BLE001 - the parser raises")),
    ("schema", 300, Mutant("broken UTF-8 in a schema", "_schema_form.py", "    except (UnicodeDecodeError, ValueError) as error:", "    except MemoryError as error:")),
    ("join", 300, Mutant("a join that leaves a line out", "_join.py", "_ended([*mine.values(), *joining.values()]", "_ended([*mine.values(), *list(joining.values())[1:]]")),
    ("settings", 200, Mutant("settings that are no TOML", "_settings.py", "except (ValueError, OSError, RecursionError) as error:", "except OSError as error:")),
)  # fmt: skip
EDIT = Mutant("an edit that takes a byte too much", "_yaml.py", "            pieces[index] = token\n", "            pieces[index] = token\n            pieces[index + 1] = pieces[index + 1].replace(' #', '#', 1)\n")  # fmt: skip
HANG = Mutant("a look at each byte for each line", "_yaml.py", "    for pattern, problem in GUARDS:", "    for at in range(len(text)):\n        sum(map(text[:at].count, 'abcdefghijklmnopqrstuvwxyz'))\n    for pattern, problem in GUARDS:")  # fmt: skip
REWRITE = Mutant("a refused file is written anew", "_backends/_loader.py", "        except InvalidFileError as error:\n            self.errors[error.file] = error\n", "        except InvalidFileError as error:\n            self.errors[error.file] = error\n            open(self.backend.path(file), 'ab').write(b'#')\n")  # fmt: skip
SERVED = Mutant("a refused file is served", "_schema.py", "        if problems:\n            raise DocumentError(file, \"\\n  \".join(problems))\n", "")  # fmt: skip


@pytest.mark.parametrize(
    ("target", "inputs", "bug"), sample(LEAKS), ids=[bug.name for _, _, bug in sample(LEAKS)]
)
def test_an_error_that_leaks_is_caught(target: str, inputs: int, bug: Mutant, tmp_path: Path) -> None:
    done = run_on(planted(tmp_path, bug), str(FUZZ / "fuzzing.py"), "--only", target, "--inputs", str(inputs))
    assert done.returncode == 1 and f"{target}, seed " in done.stdout, done.stdout + done.stderr


def test_a_foreign_byte_is_caught(tmp_path: Path) -> None:
    done = run_on(planted(tmp_path, EDIT), str(FUZZ / "edits.py"), "200")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "foreign bytes differ" in done.stdout


def test_a_slow_parse_is_caught(tmp_path: Path) -> None:
    done = run_on(planted(tmp_path, HANG), str(FUZZ / "fuzzing.py"), "--only", "values", "--inputs", "300")
    line = next(line for line in done.stdout.splitlines() if line.startswith("values: "))
    assert not line.endswith(" 0 above 0.1 s"), done.stdout


@pytest.mark.parametrize(("bug", "stores"), [(REWRITE, "2"), (SERVED, "25")], ids=[REWRITE.name, SERVED.name])
def test_a_store_that_is_harmed_is_caught(bug: Mutant, stores: str, tmp_path: Path) -> None:
    done = run_on(planted(tmp_path, bug), str(FUZZ / "doors.py"), stores)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations" in done.stdout


def test_the_real_thing_passes_the_same_runs() -> None:
    assert run_on(None, str(FUZZ / "fuzzing.py"), "--inputs", "500").returncode == 0
