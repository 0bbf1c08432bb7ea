"""An apply that was interrupted or refused: what stands then, and how the next run goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from plan_file import Call, rewrite_plan, write

from paramstore import ParamStore
from paramstore.migrate import _apply, _prepare, _store

A = "MIN_SCORE = 0.3\nMAX_RISK = 0.2\n\ndef f(x):\n    return x > MIN_SCORE\n"
B = "from a import MAX_RISK\n\nFLOOR_RATE = 0.1\n\ndef g(x):\n    return x * MAX_RISK > FLOOR_RATE\n"
MARKER = "plan.yaml.applying"
LEFT = ("*.paramstore-new", "*.applying*", "*.new")


@pytest.fixture
def planned(call: Call, tmp_path: Path) -> Path:
    """A directory with two sources, one of which reads a name of the other, and their plan."""
    write(tmp_path, "a.py", A)
    write(tmp_path, "b.py", B)
    call("scan", "a.py", "b.py")
    return tmp_path


def files(root: Path) -> dict[str, bytes]:
    """Return every file below ``root`` but the run-time ones."""
    found = (path for path in root.rglob("*") if path.is_file() and ".paramstore" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def left_over(root: Path) -> list[str]:
    return sorted(path.name for pattern in LEFT for path in root.rglob(pattern))


def interrupted(call: Call, root: Path, before: str, command: str = "apply") -> None:
    """Run a command that is refused when it is about to give ``before`` its new content."""
    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if os.path.basename(target) == before:
            raise OSError(errno.EIO, os.strerror(errno.EIO), source, None, target)
        replace(source, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        said = call(command, "plan.yaml", "--write", status=1).output
    assert MARKER in said and "not finished" in said, said
    assert (root / MARKER).exists()


def test_who_interrupts_an_apply_is_told_how_to_go_on(
    call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def interrupt(source: str, target: str) -> None:
        if os.path.basename(target) == "b.py":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupt)
        said = call("apply", "plan.yaml", "--write", status=1).output
    assert "Interrupted. The change that" in said and "run this again" in said
    assert "begun before is completed" in call("apply", "plan.yaml", "--write").output
    assert left_over(planned) == []


def test_a_refusal_right_after_the_marker_was_written_leaves_nothing_behind(
    call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sync = files(planned), os.fsync
    refused: list[int] = []

    def refuse(fd: int) -> None:
        if (planned / MARKER).exists() and not refused:
            refused.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert refused and "Nothing was written" in said
    assert files(planned) == before
    assert not (planned / "params").exists()  # nor the folders that were made
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")
    assert left_over(planned) == []


def test_an_edit_after_an_interruption_is_never_overwritten(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    mine = B.replace("0.1", "0.15")
    write(planned, "b.py", mine)
    before = files(planned)
    for command in (["apply", "plan.yaml", "--write"], ["verify", "plan.yaml"], ["scan", "a.py"]):
        said = call(*command, status=1).output
        assert "b.py" in said and "a.py " not in said and MARKER in said
        assert files(planned) == before  # looked at as a whole before anything is touched
    write(planned, "b.py", B)
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")
    assert left_over(planned) == []


def test_a_deleted_file_is_not_brought_back(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    (planned / "b.py").unlink()
    assert "b.py" in call("apply", "plan.yaml", "--write", status=1).output
    assert not (planned / "b.py").exists()


def test_a_file_of_which_nobody_knows_whether_it_was_rewritten_is_refused(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    rewritten, literal = (planned / "a.py").read_text() + "\n# mine\n", B.replace("0.1", "0.15")
    assert "params.get" in rewritten
    write(planned, "a.py", rewritten)  # had its new content
    staged = (planned / "b.py.paramstore-new").read_bytes()
    (planned / "b.py.paramstore-new").unlink()
    write(planned, "b.py", literal)  # had not
    before = files(planned)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert (
        "/a.py, " in said
        and "/b.py. " in said
        and "reads parameters already" in said
        and "its literals" in said
    )
    assert files(planned) == before
    write(planned, "b.py", B)
    write(planned, "b.py.paramstore-new", staged)
    assert "/a.py" in call("apply", "plan.yaml", "--write", status=1).output
    assert (planned / "a.py").read_text() == rewritten


def test_a_save_while_files_are_being_replaced_stays(
    call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = _apply._mark

    def then_save(*words: object) -> None:
        mark(*words)  # type: ignore[arg-type]
        write(planned, "b.py", B + "# mine\n")

    monkeypatch.setattr(_apply, "_mark", then_save)
    before = {**files(planned), "b.py": (B + "# mine\n").encode()}
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "b.py changed" in said and "Nothing was written; run it again" in said
    assert files(planned) == before and not (planned / "params").exists()
    monkeypatch.setattr(_apply, "_mark", mark)
    call("scan", "a.py", "b.py")
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_an_edit_after_a_kill_before_the_first_rename_gives_the_change_up(call: Call, planned: Path) -> None:
    interrupted(call, planned, ".gitignore")
    write(planned, "b.py", B + "# mine\n")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "b.py changed" in said and left_over(planned) == []
    call("scan", "a.py", "b.py")
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_a_save_at_the_last_moment_stays(call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def then_save(source: str, target: str) -> None:
        replace(source, target)
        if target.endswith("/a.py"):
            write(planned, "b.py", B + "# mine\n")

    monkeypatch.setattr(os, "replace", then_save)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "b.py" in said and MARKER in said
    assert (planned / "b.py").read_text() == B + "# mine\n"
    monkeypatch.setattr(os, "replace", replace)
    write(planned, "b.py", B)
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_a_marker_whose_files_were_never_touched_is_dropped(call: Call, planned: Path) -> None:
    interrupted(call, planned, ".gitignore")
    for path in planned.rglob("*.paramstore-new"):
        path.unlink()
    call("verify", "plan.yaml", status=1)
    assert left_over(planned) == []
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_content_that_is_lost_is_told(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    (planned / "b.py.paramstore-new").unlink()
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "b.py" in said and "lost" in said and "git" in said
    write(planned, "a.py", A)
    (planned / MARKER).unlink()
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_a_staged_file_that_was_tampered_with_is_not_taken(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    write(planned, "b.py.paramstore-new", "half")
    assert "lost" in call("apply", "plan.yaml", "--write", status=1).output
    assert (planned / "b.py").read_text() == B


def test_a_marker_of_an_earlier_version_is_completed(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    work = json.loads((planned / MARKER).read_text())
    for item in work["files"]:
        del item["before"]
        item["path"] = str(planned / item["path"])
    write(planned, MARKER, json.dumps(work))
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")
    assert left_over(planned) == []


def test_a_directory_that_was_moved_meanwhile_is_completed(
    call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(call, planned, "b.py")
    moved = planned.rename(planned.with_name("elsewhere"))
    monkeypatch.chdir(moved)
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")
    assert left_over(moved) == []


def test_a_revert_that_was_interrupted_is_completed(call: Call, planned: Path) -> None:
    call("apply", "plan.yaml", "--write")
    interrupted(call, planned, "b.py", "revert")
    assert "Nothing of plan.yaml is applied" in call("verify", "plan.yaml", status=1).output
    assert (planned / "a.py").read_text() == A and (planned / "b.py").read_text() == B
    assert left_over(planned) == []


LEARNER = """
import sys
from paramstore import ParamStore
with ParamStore(sys.argv[1]).transaction(author="learner", timeout_s=float(sys.argv[3])) as tx:
    tx["a.min_score"] = float(sys.argv[2])
"""


def commit(root: Path, value: float, timeout_s: float = 5) -> str:
    """Commit in another process; return what it was refused with."""
    command = [sys.executable, "-c", LEARNER, str(root), str(value), str(timeout_s)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.fixture
def half_moved(call: Call, planned: Path) -> Path:
    """One number is in the store, and the plan accepts the others."""
    rewrite_plan(planned, lambda site: site.update(accept=site["key"] == "a.min_score"))
    call("apply", "plan.yaml", "--write")
    call("scan", "a.py", "b.py")
    rewrite_plan(planned, lambda site: site.update(accept=True))
    return planned


def committing_amid(root: Path, monkeypatch: pytest.MonkeyPatch, file: str = "params/a.yaml") -> list[str]:
    """Have a learner try to commit right before a file gets its new content; return what it was refused with."""
    refused: list[str] = []
    replace = os.replace

    def after_a_commit(source: str, target: str) -> None:
        if target.endswith(file):
            refused.append(commit(root, 0.41, 0.1))
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_a_commit)
    return refused


def test_no_commit_is_acknowledged_and_overwritten(
    call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = committing_amid(half_moved, monkeypatch)
    call("apply", "plan.yaml", "--write")
    assert len(refused) == 1 and "LockTimeoutError" in refused[0]
    assert commit(half_moved, 0.41) == ""  # let go again
    call("verify", "plan.yaml", "--learned")


@pytest.mark.parametrize("command", ["apply", "revert"])
def test_what_another_process_applied_meanwhile_is_told(
    command: str, call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, again = _store.held, ["-m", "paramstore", "migrate", "apply", "plan.yaml", "--write"]
    before: list[dict[str, bytes]] = []

    def after_an_apply(root: str) -> AbstractContextManager[None]:
        if not before:
            subprocess.run([sys.executable, *again], cwd=half_moved, check=True, capture_output=True)
            before.append(files(half_moved))
        return held(root)

    monkeypatch.setattr(_store, "held", after_an_apply)
    assert "Another process was at work" in call(command, "plan.yaml", "--write", status=1).output
    assert files(half_moved) == before[0]
    call(command, "plan.yaml", "--write")


def test_no_commit_comes_between_the_values_and_the_literals_of_a_revert(
    call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit(half_moved, 0.41) == ""
    refused = committing_amid(half_moved, monkeypatch, "/a.py")
    call("revert", "plan.yaml", "--write")
    assert len(refused) == 1 and "LockTimeoutError" in refused[0]
    assert "0.41" in (half_moved / "a.py").read_text()


def test_nor_is_one_when_an_interrupted_apply_is_completed(
    call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(call, half_moved, "a.yaml")
    refused = committing_amid(half_moved, monkeypatch)
    call("apply", "plan.yaml", "--write")
    assert len(refused) == 1 and "LockTimeoutError" in refused[0]


def test_a_commit_while_the_change_is_prepared_goes_into_it(
    call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = _prepare.prepare

    def then_commit(*words: Any) -> _prepare.Prepared:
        prepared = prepare(*words)
        assert commit(half_moved, 0.41) == ""
        return prepared

    monkeypatch.setattr(_prepare, "prepare", then_commit)
    call("apply", "plan.yaml", "--write")
    assert ParamStore(half_moved, environ={}).get("a.min_score") == 0.41
    call("verify", "plan.yaml", "--learned")


def test_a_store_that_stays_locked_is_told(
    call: Call, half_moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "WAIT_S", 0.1)
    before = files(half_moved)
    with ParamStore(half_moved, environ={}).transaction(author="me", dry_run=True):
        before = files(half_moved)  # it notes what it finds
        assert "holds" in call("apply", "plan.yaml", "--write", status=1).output
        assert files(half_moved) == before


def test_a_values_file_that_is_a_link_stays_one(call: Call, half_moved: Path) -> None:
    (half_moved / "shared").mkdir()
    link = half_moved / "params" / "a.yaml"
    link.rename(half_moved / "shared" / "a.yaml")
    link.symlink_to("../shared/a.yaml")
    call("apply", "plan.yaml", "--write")
    assert link.is_symlink() and "max_risk" in (half_moved / "shared" / "a.yaml").read_text()
    call("verify", "plan.yaml")


def test_the_settings_of_the_environment_hold(
    call: Call, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("apply", "plan.yaml", "--write")
    (planned / "params").chmod(0o777)
    assert "every user may write" in call("verify", "plan.yaml", status=2).output
    monkeypatch.setenv("PARAMSTORE_ANY_USER_MAY_WRITE", "1")
    monkeypatch.setenv("PARAMSTORE_JOURNAL", str(planned / "elsewhere"))  # of the store, not of its copy
    old = os.umask(0)  # then the probe's copy is open to all
    try:
        call("verify", "plan.yaml", "--run")
    finally:
        os.umask(old)
    assert not (planned / "elsewhere").exists()


def git(root: Path, *words: str) -> None:
    command = ["git", "-C", str(root), "-c", "user.name=me", "-c", "user.email=me@example.invalid", *words]
    subprocess.run(command, check=True, capture_output=True)


def test_what_is_said_to_give_a_change_up_does_so(call: Call, half_moved: Path) -> None:
    git(half_moved, "init", "-q")
    git(half_moved, "add", "-A")
    git(half_moved, "commit", "-q", "-m", "half")
    before = files(half_moved)
    interrupted(call, half_moved, "b.py")
    mine = B + "# mine\n"
    write(half_moved, "b.py", mine)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert f"git stash push -- {half_moved / 'b.py'}`" in said
    commands = said.partition("To give the change up, run\n")[2]
    assert "rm -f" in commands and "git checkout -- " in commands
    subprocess.run(["sh", "-ec", commands], cwd=half_moved, check=True, capture_output=True)
    now = {name: raw for name, raw in files(half_moved).items() if not name.startswith(".git/")}
    assert now == {n: raw for n, raw in before.items() if not n.startswith(".git/")} | {"b.py": mine.encode()}


OTHER = """
import fcntl, sys
with open("plan.yaml") as plan:
    fcntl.flock(plan, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_take_each_others_files(call: Call, planned: Path) -> None:
    interrupted(call, planned, "b.py")
    before = files(planned)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=planned
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        for command in (["apply", "plan.yaml", "--write"], ["verify", "plan.yaml"]):
            assert "Another process is at work" in call(*command, status=1).output
        assert files(planned) == before
        other.communicate()
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")


def test_a_file_that_reads_a_name_and_cannot_be_scanned_holds_the_name_back(
    call: Call, tmp_path: Path
) -> None:
    write(tmp_path, "a.py", A)
    write(tmp_path, "b.py", B)
    reader = write(tmp_path, "c.py", "from a import MAX_RISK\n\ndef h(x):\n    return x < MAX_RISK\n")
    call("scan", ".")
    write(tmp_path, "c.py", reader.read_text() + "def half(:\n")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "c.py is not valid Python" in said and "a.py holds a name that c.py reads" in said
    assert (tmp_path / "a.py").read_text() == A and not (tmp_path / "params" / "a.yaml").exists()


@pytest.mark.parametrize("name", ["params/a.yaml", "schemas/a.schema.json"])
def test_half_a_namespace_is_not_written_over(name: str, call: Call, planned: Path) -> None:
    write(planned, name, "of: mine\n")
    before = files(planned)
    assert f"{name} is there without" in call("apply", "plan.yaml", "--write", status=1).output
    assert files(planned) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_source_keeps_its_owner_and_mode(call: Call, planned: Path) -> None:
    os.chown(planned / "a.py", 12, 34)
    (planned / "a.py").chmod(0o640)
    call("apply", "plan.yaml", "--write")
    now = (planned / "a.py").stat()
    assert (now.st_uid, now.st_gid, now.st_mode & 0o777) == (12, 34, 0o640)
