# ruff: noqa: T201 - run as a command, it prints
"""A damaged file in a whole store, and all that people and programs then do: ``python tests/fuzz/doors.py [INPUTS] [SEED]``.

A reader runs on and keeps its last good values; a fresh process, ``check``, a transaction, history and rollback end well or in
one of our errors; and no bytes that were there are lost: the damaged file stays as it is, the journal only grows.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from click.testing import CliRunner  # noqa: E402
from damage import damaged  # noqa: E402
from fuzz_store import make_store  # noqa: E402
from local_store import write  # noqa: E402

from paramstore import ParamStore  # noqa: E402
from paramstore.cli import cli  # noqa: E402
from paramstore.errors import InvalidFileError, ParamstoreError  # noqa: E402

HARMED = (
    "params/risk.yaml", "params/risk.yaml", "schemas/risk.schema.json", "params/journal/00000001.jsonl", ".paramstore/cache",
    ".paramstore/generation", "paramstore.toml",
)  # fmt: skip
TOML = b"timeout_s = 2.5\nread_counts = true\n"


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*")) if path.is_file() and ".paramstore" not in path.parts
    }  # fmt: skip


def _attempt(what: Callable[[], object]) -> bool:
    """Tell whether ``what`` went well; only our own errors may say that it did not."""
    try:
        what()
    except ParamstoreError:
        return False
    return True


def _write(store: ParamStore, key: str, value: float) -> None:
    with store.transaction(author="learner", reason="r", timeout_s=1) as tx:
        tx[key] = value


def _check(root: Path) -> None:
    for words in (["check"], ["history"], ["list"], ["doctor"]):
        done = CliRunner().invoke(cli, ["--root", str(root), *words])
        error = done.exception
        if error is not None and not isinstance(error, SystemExit | ParamstoreError):
            raise error


def problem(seed: int, folder: Path, good: Path) -> str | None:
    """Do one harm to a copy of the store ``good``; return what is wrong then."""
    dice = random.Random(seed)
    root = folder / f"s{seed}"
    shutil.copytree(good, root)
    name = dice.choice(HARMED)
    reader = ParamStore(root, environ={})
    before = reader.snapshot().values
    was = (root / name).read_bytes() if name != "paramstore.toml" else TOML
    raw = damaged(dice, [was])
    if name.startswith(".paramstore"):
        (root / name).unlink()  # a mapped file is replaced, never truncated
    write(root / name, raw)
    try:
        return _look(root, name, raw, reader, before)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"seed {seed}, {name}: {type(error).__name__}: {str(error)[:300]}; input {raw[:300]!r}"
    finally:
        reader.reset()
        shutil.rmtree(root)


def _look(root: Path, name: str, raw: bytes, reader: ParamStore, before: object) -> str | None:
    health = reader.refresh()
    if not health.ok and reader.snapshot().values != before:
        return f"{name}: a refused file changed what a running reader sees; input {raw[:300]!r}"
    fresh = ParamStore(root, environ={})
    there = _files(root)
    try:
        fresh.get("risk.fraction")
        served = True
    except (InvalidFileError, ParamstoreError):
        served = False
    _check(root)
    if _files(root) != there:
        return f"{name}: looking changed a file; input {raw[:300]!r}"
    for what in (
        lambda: _write(fresh, "other.x", 3.5), lambda: _write(fresh, "risk.fraction", 0.2), fresh.history,
        lambda: fresh.rollback(to=1, author="me", reason="r"),
    ):  # fmt: skip
        stood = _files(root)
        if not _attempt(what):
            lost = _lost(stood, _files(root))
            if lost:
                return f"{name}: what was refused changed {lost}; input {raw[:300]!r}"
    if not served and name.startswith(("params/risk", "schemas/")) and _files(root)[name] != raw:
        return f"{name}: a file that is refused was rewritten; input {raw[:300]!r}"
    fresh.reset()
    return None


def _lost(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Return files that changed: a journal may grow, and a torn end of it is set aside in a file of its own."""
    aside = b"".join(raw for name, raw in after.items() if name.endswith(".torn"))
    lost = []
    for name, raw in before.items():
        now = after.get(name, b"")
        whole = raw[: raw.rfind(b"\n") + 1] if name.endswith(".jsonl") else raw
        grown = name.endswith(".jsonl") and (now.startswith((raw, whole)) or raw.startswith(now) or aside)
        if now != raw and not grown:
            lost.append(name)
    return lost


def main(count: int, seed: int) -> int:
    """Do ``count`` harms; exit status 1 where something must not be."""
    logging.getLogger("paramstore").addHandler(logging.NullHandler())
    logging.getLogger("paramstore").propagate = False
    folder = Path(
        tempfile.mkdtemp(prefix="paramstore-doors-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    good = make_store(folder / "good")
    try:
        found = [said for number in range(count) if (said := problem(seed + number, folder, good))]
    finally:
        shutil.rmtree(folder)
    for said in found[:20]:
        print(said)
    print(f"{count} damaged stores, {len(found)} violations")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(int((*sys.argv[1:2], "5000")[0]), int((*sys.argv[2:3], "1")[0])))
