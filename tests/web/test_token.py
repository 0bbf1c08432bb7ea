"""The token's file: only its owner's, or not used."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from paramstore.web._token import TokenError, token_at, token_in

GOOD = "t" * 43 + "\n"


def test_it_is_made_once_for_its_owner_alone(root: Path) -> None:
    kept = os.umask(0)
    try:
        token, path = token_in(str(root / ".paramstore"))
    finally:
        os.umask(kept)
    assert path == str(root / ".paramstore/web-token")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)  # 256 bits
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert token_in(str(root / ".paramstore")) == (token, path)
    os.unlink(path)
    assert token_in(str(root / ".paramstore"))[0] != token


def test_two_who_start_at_once_have_one_token(tmp_path: Path) -> None:
    for turn in range(50):
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(token_at(str(tmp_path / f"{turn}")))) for _ in range(4)]  # noqa: B023  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_one_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(GOOD)
    file.chmod(mode)
    with pytest.raises(TokenError, match=rf"by others \(mode {mode:04o}\).*Delete it, and a new one is made"):
        token_at(str(file))
    assert file.read_text() == GOOD


@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_symbolic_link_is_refused_and_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_text(GOOD)
    (tmp_path / "there").chmod(0o600)
    (tmp_path / "token").symlink_to(tmp_path / target)
    with pytest.raises(TokenError, match="is a symbolic link"):
        token_at(str(tmp_path / "token"))
    assert not (tmp_path / "missing").exists()


def test_a_hard_link_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_text(GOOD)
    (tmp_path / "there").chmod(0o600)
    os.link(tmp_path / "there", tmp_path / "hard")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, problem in (("hard", "has another name"), ("pipe", "is not a file")):
        with pytest.raises(TokenError, match=problem):
            token_at(str(tmp_path / name))
    with pytest.raises(TokenError, match="is not a file"):
        token_at(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(GOOD)
    file.chmod(0o600)
    os.chown(file, 12345, -1)
    with pytest.raises(TokenError, match="belongs to user 12345"):
        token_at(str(file))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "holds 0 char"), ("short\n", "holds 5"), ("t" * 31, "holds 31"), ("t" * 1025, "holds 1025"), ("t" * 9000, "holds"),
     ("t" * 40 + " x", "may not have"), ("t" * 40 + "\nmore", "may not have"), ("é" * 40, "may not have")],
)  # fmt: skip
def test_what_is_no_token_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(TokenError, match=problem) as raised:
        token_at(str(file))
    assert not text.strip() or text.strip() not in str(raised.value)


def test_a_token_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(GOOD)
    file.chmod(0o400)
    assert token_at(str(file)) == GOOD.strip()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="--token-file"):
        token_at(str(tmp_path / "none/token"))
