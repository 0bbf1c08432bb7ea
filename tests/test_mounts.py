"""Stores on mounts of all kinds, and stores of several users. Each test in a child with mounts of its own (``mounts``)."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mutants import PYTEST, Mutant, plant, planted, run_on

from paramstore import ParamStore, _files
from paramstore.errors import InvalidFileError, LockTimeoutError, SettingsError, WriteError

sys.path.insert(0, str(Path(__file__).parent / "faults"))
import plainstore as ps
from mounts import BIND, ROOT_ONLY, apart, as_user, mount, read_only
from processes import Shared, running, together

KEY, OTHER = "alpha.count", "beta.count"
MINE, THEIRS, STRANGER, GROUP = 4001, 4002, 4003, 4000


@pytest.fixture(autouse=True, scope="module")
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import all that a commit needs, once and for the children too: other users cannot, from where Python may live."""
    commit(ps.make_store(tmp_path_factory.mktemp("imported") / "store"))


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = ps.fast_folder()
    folder.chmod(0o755)  # of other users too
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(folder: Path) -> Path:
    return ps.make_store(folder / "store")


def commit(root: Path, *keys: str) -> None:
    with ParamStore(root, environ={}).transaction(author="learner") as tx:
        for key in keys or (KEY,):
            tx[key] += 1


def read(root: Path, key: str = KEY) -> int:
    return int(ParamStore(root, environ={}).get(key))


def die_between_two_files(root: Path) -> None:
    """Commit two files, and be killed after the first has its name."""
    real = _files.swap_in

    def swap_and_die(new: str, target: str, base: bytes) -> bool:
        real(new, target, base)
        os._exit(9)

    _files.swap_in = swap_and_die
    commit(root, KEY, OTHER)


def check_all(root: Path) -> None:
    """Commit, read from another process that is fresh at once, be killed amid a commit, recover."""
    reader = ParamStore(root, environ={})
    begun = reader.get(KEY)
    for number in range(1, 4):
        together(lambda: commit(root))
        assert reader.get(KEY) == begun + number, "stale"
    with pytest.raises(AssertionError, match="the child died"):
        together(lambda: die_between_two_files(root))
    together(lambda: commit(root))
    assert (reader.get(KEY), reader.get(OTHER)) in ((begun + 4, 10), (begun + 5, 11))
    assert ps.problems_of(ps.tracked(root)) == []
    reader.reset()


# --- file systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [False, True])
def test_an_overlay_over_a_store_of_the_image(folder: Path, used: bool) -> None:
    """The root of a container. With run-time files in the image a reader maps one that is copied by the first writer."""
    image = ps.make_store(folder / "image/store")
    if used:
        together(lambda: commit(image))
    before = ps.tracked(image)
    for name in ("upper", "work", "at"):
        (folder / name).mkdir()

    def work() -> None:
        layers = f"lowerdir={folder}/image,upperdir={folder}/upper,workdir={folder}/work"
        mount("overlay", folder / "at", "overlay", options=layers)
        check_all(folder / "at/store")

    apart(work)
    assert ps.tracked(image) == before


@ROOT_ONLY
def test_a_reader_of_an_overlay_who_may_not_write_is_late_at_most_once(folder: Path) -> None:
    """It cannot have the run-time file copied before it maps it, and finds out when it looks at the files."""
    image = ps.make_store(folder / "image/store")
    together(lambda: commit(image))
    for name in ("upper", "work", "at"):
        (folder / name).mkdir()

    def work() -> None:
        layers = f"lowerdir={folder}/image,upperdir={folder}/upper,workdir={folder}/work"
        mount("overlay", folder / "at", "overlay", options=layers)
        shared, at = Shared(), folder / "at/store"

        def reader() -> None:
            store = ParamStore(at, environ={})
            for number in range(1, 4):
                expected = store.get(KEY) + 1
                shared[number] = 1
                shared.wait(number + 4)
                deadline = time.monotonic() + (5 if number == 1 else 0)
                while store.get(KEY) != expected and time.monotonic() < deadline:
                    time.sleep(0.005)
                time.sleep(0.3 if number == 1 else 0)
                assert store.get(KEY) == expected, f"stale after commit {number}"

        with running(as_user(STRANGER, STRANGER, reader)) as (child,):
            for number in range(1, 4):
                shared.wait(number)
                commit(at)
                shared[number + 4] = 1
            child.result()

    apart(work)


@pytest.mark.parametrize("part", ["", "params", ".paramstore"])
def test_a_store_and_a_part_of_it_on_file_systems_of_their_own(root: Path, part: str) -> None:
    def work() -> None:
        (root / ".paramstore").mkdir()
        there = {path.name: path.read_bytes() for path in (root / part).iterdir() if path.is_file()}
        mount("tmpfs", root / part, "tmpfs", options="mode=755")
        for name, raw in there.items():
            (root / part / name).write_bytes(raw)
        if not part:
            ps.make_store(root)
        check_all(root)

    (root / "params").mkdir(exist_ok=True)
    apart(work)


def test_a_read_only_root_with_a_store_that_is_writable(root: Path) -> None:
    def work() -> None:
        mount(root, root, flags=BIND)
        read_only(Path("/"))
        with pytest.raises(OSError, match="Read-only"):
            Path("/not-made").write_text("")
        check_all(root)

    apart(work)


@pytest.mark.parametrize("used", [False, True])
def test_a_store_on_a_read_only_mount_is_read_and_refuses_writes(
    root: Path, folder: Path, used: bool
) -> None:
    (view := folder / "view").mkdir()
    if used:
        together(lambda: commit(root))

    def work() -> None:
        mount(root, view, flags=BIND)
        read_only(view)
        reader = ParamStore(view, environ={})
        for _ in range(3):
            expected = reader.get(KEY) + 1
            together(lambda: commit(root))
            assert reader.get(KEY) == expected
        with pytest.raises(WriteError, match=r"Read-only file system.*Nothing was written"):
            commit(view)

    apart(work)


def test_one_store_seen_at_two_places_is_one_store(root: Path, folder: Path) -> None:
    """A folder that is bind-mounted into a container: signal and lock are those of the host."""
    (view := folder / "view").mkdir()

    def work() -> None:
        mount(root, view, flags=BIND)
        here, there = ParamStore(root, environ={}), ParamStore(view, environ={})
        assert here.get(KEY) == there.get(KEY) == 10
        together(lambda: commit(view))
        assert here.get(KEY) == there.get(KEY) == 11
        with here.transaction(author="here") as tx:
            tx[KEY] += 1
            with pytest.raises(LockTimeoutError), there.transaction(author="there", timeout_s=0.1):
                pass
        check_all(view)

    apart(work)


def test_a_mount_of_a_single_file_is_refused_with_what_to_do(root: Path, folder: Path) -> None:
    alone = folder / "alone.yaml"
    alone.write_bytes(ps.text_of("alpha", 10))

    def work() -> None:
        file = root / "params/alpha.yaml"
        mount(alone, file, flags=BIND)
        reader = ParamStore(root, environ={})
        assert reader.get(KEY) == 10
        for keys in ((KEY,), (OTHER, KEY)):
            with pytest.raises(WriteError) as caught:
                commit(root, *keys)
            assert f"{file}: it is mounted by itself" in str(caught.value)
            assert "mount the folder that it is in. Nothing was written; revision" in str(caught.value)
        commit(root, OTHER)
        assert (reader.get(KEY), reader.get(OTHER)) == (10, 11)
        assert sorted(path.name for path in (root / "params").iterdir()) == [
            "alpha.yaml",
            "beta.yaml",
            "journal",
        ]

    apart(work)


# --- several users ------------------------------------------------------------------------------------


def give(root: Path, group: int) -> None:
    """Make a store the group's: each folder passes the group on."""
    for path in (root, *root.rglob("*")):
        os.chown(path, MINE, group)
        path.chmod(0o2775 if path.is_dir() else 0o664)


@ROOT_ONLY
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_members_of_a_group_write_in_turns_whatever_their_umask(root: Path, umask: int) -> None:
    give(root, GROUP)
    reader = ParamStore(root, environ={})
    for number in range(1, 3):
        for user in (MINE, THEIRS):
            together(as_user(user, GROUP, lambda: commit(root, KEY, OTHER), umask))
        assert reader.get(KEY) == reader.get(OTHER) == 10 + 2 * number
    made = [*(root / ".paramstore").rglob("*"), root / ".paramstore", *(root / "params").rglob("*")]
    for path in made:
        about = path.stat()
        wanted = 0o070 if path.is_dir() else 0o060
        assert (about.st_gid, about.st_mode & wanted) == (GROUP, wanted), (
            f"{path}: {stat.filemode(about.st_mode)}"
        )
        assert not about.st_mode & stat.S_IWOTH
    assert ps.problems_of(ps.tracked(root)) == []


@ROOT_ONLY
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_reader_who_may_not_write_is_fresh(root: Path, used: bool, umask: int) -> None:
    def write() -> None:
        os.umask(umask)
        commit(root)

    if used:
        together(write)
    shared = Shared()

    def follow() -> list[int]:
        store = ParamStore(root, environ={})
        seen = []
        for number in range(3):
            seen.append(store.get(KEY))
            shared[number] = 1
            shared.wait(number + 4)
        with pytest.raises(WriteError, match=r"Permission denied.*Nothing was written"):
            commit(root)
        return [*seen, store.get(KEY)]

    with running(as_user(STRANGER, STRANGER, follow)) as (child,):
        for number in range(3):
            shared.wait(number)
            together(write)
            shared[number + 4] = 1
        assert child.result() == [10 + used + number for number in range(4)]


@ROOT_ONLY
@pytest.mark.parametrize("used", [False, True])
def test_root_does_not_lock_the_owner_out(root: Path, used: bool) -> None:
    """A container, which often runs as root, on a folder of the host."""
    if used:
        (root / ".paramstore").mkdir()
    for path in (root, *root.rglob("*")):
        os.chown(path, MINE, GROUP)
    reader = ParamStore(root, environ={})
    for number in range(1, 3):
        assert reader.get(KEY) == 8 + 2 * number
        together(lambda: commit(root))
        together(as_user(MINE, GROUP, lambda: commit(root)))
        assert reader.get(KEY) == 10 + 2 * number
    made = [root / ".paramstore", *(root / ".paramstore").rglob("*"), *(root / "params").rglob("*")]
    assert {str(path): path.stat().st_uid for path in made if path.stat().st_uid != MINE} == {}


def test_a_link_in_the_place_of_a_folder_gives_nothing_away(root: Path, folder: Path) -> None:
    (folder / "elsewhere").mkdir(mode=0o700)
    (root / "link").symlink_to(folder / "elsewhere")
    with pytest.raises(NotADirectoryError):
        _files._share_folder(str(root / "link"), str(root / "params"))
    assert (folder / "elsewhere").stat().st_mode & 0o777 == 0o700


def test_a_mount_without_modes_is_used_only_when_who_starts_the_process_says_so(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    with pytest.raises(InvalidFileError, match="PARAMSTORE_ANY_USER_MAY_WRITE=1"):
        read(root)
    (root / "paramstore.toml").write_text("any_user_may_write = true\n")
    with pytest.raises(SettingsError, match="by whoever starts a process, and not here"):
        read(root)
    (root / "paramstore.toml").unlink()
    store = ParamStore(root, environ={"PARAMSTORE_ANY_USER_MAY_WRITE": "1"})
    assert store.get(KEY) == 10
    with store.transaction(author="me") as tx:
        tx[KEY] += 1
    assert (store.get(KEY), store.revision) == (11, 1)
    store.reset()


# --- the checks themselves ----------------------------------------------------------------------------

PLANTED: dict[Mutant, Callable[..., None]] = {
    Mutant("a file is mapped before it is copied up", "_generation.py", "os.open(path, os.O_RDWR | os.O_CLOEXEC)\n    except OSError:  #", "os.open(path, os.O_RDONLY | os.O_CLOEXEC)\n    except OSError:  #"): test_an_overlay_over_a_store_of_the_image,
    Mutant("a mapping that fell behind is kept", "_generation.py", "mapped.index >= written.index", "True"): test_a_reader_of_an_overlay_who_may_not_write_is_late_at_most_once,
    Mutant("the first user locks the others out", "_files.py", "    if given or mode != now.st_mode:", "    if False:"): test_members_of_a_group_write_in_turns_whatever_their_umask,
    Mutant("root keeps what it makes", "_files.py", "os.fchown(made, like.st_uid, -1)", "pass"): test_root_does_not_lock_the_owner_out,
    Mutant("a mount is a busy device", "_files.py", "        if error.errno == errno.EBUSY:", "        if False:"): test_a_mount_of_a_single_file_is_refused_with_what_to_do,
    Mutant("an open folder says that this does not matter", "_settings.py", "        if name in _ENVIRONMENT_ONLY:", "        if False:"): test_a_mount_without_modes_is_used_only_when_who_starts_the_process_says_so,
}  # fmt: skip


def test_the_checks_catch_planted_bugs(tmp_path: Path) -> None:
    """All in one copy, because starting a run costs most: none of them is what another's test looks at."""
    first, *others = PLANTED
    place = planted(tmp_path, first)
    for mutant in others:
        plant(place, mutant)
    tests = [f"{__file__}::{test.__name__}" for test in PLANTED.values()]
    done = run_on(place, *PYTEST, "-rA", *tests)
    for mutant, test in PLANTED.items():
        seen = re.search(rf"^(FAILED|SKIPPED).*({test.__name__}|no mount|only root)", done.stdout, re.M)
        assert seen, f"{mutant.name} was not caught:\n{done.stdout}"
