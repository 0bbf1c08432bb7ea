"""What git itself starts, once a file: the merge drivers, the external diff and the text conversion.

``paramstore git install`` writes these calls into the repository's config. Exit status of a merge driver: 0 merged, 3 a
person has to decide (markers are in the file). Any other is a failure: 1 is what a Python that cannot start ends with, so the
shell line around the call takes nothing else for a conflict, and lets git go on plainly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

CONFLICT = 3
FAILED = 70


def merge_values(base: str, ours: str, theirs: str, path: str) -> int:
    """Merge a values file by key into ``ours``."""
    from paramstore._merge_rules import merge_lines, rules_for
    from paramstore._merge_text import merge_files

    folder = os.getcwd()  # git starts drivers at the top of the work tree
    versions = _read(base), _read(ours), _read(theirs)
    prefer = os.environ.get("PARAMSTORE_MERGE_PREFER", "")
    rules = rules_for(folder, path)
    outcome = merge_files(*versions, path, rules, lambda *texts: merge_lines(folder, *texts), prefer)
    _write(ours, outcome.raw)
    for reason in outcome.reasons:
        _say(f"{path}: {reason}")
    if not outcome.reasons and not outcome.by_lines:
        _say(f"{path}: merged by key; comments and layout are those of ours")
    return CONFLICT if outcome.reasons else 0


def merge_journal(base: str, ours: str, theirs: str, path: str) -> int:
    """Join two versions of a journal segment into ``ours``. The base is not needed: no line is ever taken out."""
    from paramstore._clock import SYSTEM
    from paramstore._join import join, saying, why_not
    from paramstore._merge_rules import merge_lines

    mine, other = _read(ours), _read(theirs)
    joined = join(mine, other, saying("of another branch joined", SYSTEM))
    if joined is not None:
        _write(ours, joined)
        return 0
    plainly = merge_lines(os.getcwd(), _read(base), mine, other)
    _say(f"{path}: {why_not(mine, other)}")
    if plainly is None:
        plainly = b"<<<<<<< ours\n" + mine + b"=======\n" + other + b">>>>>>> theirs\n"
    _write(ours, plainly)
    return CONFLICT


def show(schemas: str, file: str) -> int:
    """Print a values file with each value's full key and place within bounds: what `git log -p` compares."""
    from paramstore._git_show import annotated, namespace_of, plain_schema

    raw = _read(file)
    namespace = namespace_of(file, raw)
    sys.stdout.buffer.write(annotated(raw, namespace, plain_schema(_schema(schemas, namespace))))
    return 0


def show_journal(file: str) -> int:
    """Print the entries of a journal segment in words. A line that is no entry stays as it is."""
    from paramstore._git_message import journal_in_words

    sys.stdout.buffer.write(b"".join(words for _, words in journal_in_words(_read(file))))
    return 0


def diff(schemas: str, path: str, *versions: str) -> int:
    """Print what changed value by value, and below it the ordinary diff, which `git apply` still takes."""
    from paramstore._git_show import described, namespace_of, plain_schema

    def told(old: bytes | None, new: bytes | None) -> bytes:
        schema = plain_schema(_schema(schemas, namespace_of(path, new or old or b"")))
        return described(path, old, new, schema).encode()

    return _diff(told, path, *versions)


def diff_journal(path: str, *versions: str) -> int:
    """Print which entries came and which are gone, and below it the ordinary diff."""
    from paramstore._git_message import journal_in_words

    def told(old: bytes | None, new: bytes | None) -> bytes:
        before, now = (dict(journal_in_words(raw or b"")) for raw in (old, new))
        gone = [b"GONE: " + words for line, words in before.items() if line not in now]
        return b"".join([*gone, *(words for line, words in now.items() if line not in before)])

    return _diff(told, path, *versions)


def _diff(told: Callable[[bytes | None, bytes | None], bytes], path: str, *versions: str) -> int:
    if len(versions) < 6:  # as git has it for a path in conflict
        sys.stdout.write(f"* Unmerged path {path}\n")
        return 0
    old, new = (None if file == os.devnull else _read(file) for file in versions[0:6:3])
    lines = told(old, new).splitlines()
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(b"  " + line + b"\n" for line in lines))
    sys.stdout.buffer.write(_plain_diff(path, *versions))
    return 0


def _plain_diff(path: str, *versions: str) -> bytes:
    """Return git's own diff of two files, with the names and modes that they have in the repository."""
    from paramstore import _git

    files, names, modes = versions[0:6:3], versions[1:6:3], versions[2:6:3]
    new_path, about = versions[6] if len(versions) > 6 else path, "".join(versions[7:8])
    folder = os.getcwd()
    watched = "true" if sys.stdout.isatty() or os.environ.get("GIT_PAGER_IN_USE") else "false"
    colour = _git.run(folder, "config", "--get-colorbool", "color.diff", watched).stdout.strip() == b"true"
    words = ("--no-ext-diff", "--no-textconv", f"--color={'always' if colour else 'never'}")
    said = _git.run(folder, "diff", "--no-index", *words, "--", *files).stdout
    hunks = said.find(b"@@ ")
    hunks = said.rfind(b"\n", 0, hunks) + 1 if hunks >= 0 else len(said)
    was, is_ = (file != os.devnull for file in files)
    both = was and is_
    head = [f"diff --git a/{path} b/{new_path}"]
    head += [] if was else [f"new file mode {modes[1]}"]
    head += [] if is_ else [f"deleted file mode {modes[0]}"]
    head += [f"old mode {modes[0]}", f"new mode {modes[1]}"] if both and modes[0] != modes[1] else []
    head += [line for line in about.splitlines() if line and not line.startswith("index ")]
    if said[hunks:]:
        same_mode = f" {modes[0]}" if both and modes[0] == modes[1] else ""
        head += [f"index {names[0][:10]}..{names[1][:10]}{same_mode}"]
        head += [f"--- {f'a/{path}' if was else os.devnull}", f"+++ {f'b/{new_path}' if is_ else os.devnull}"]
    return ("\n".join(head) + "\n").encode("utf-8", "surrogateescape") + said[hunks:]


def _schema(schemas: str, namespace: str) -> bytes | None:
    try:
        return _read(os.path.join(schemas, f"{namespace}.schema.json"))
    except (OSError, ValueError):
        return None


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _write(path: str, raw: bytes) -> None:
    with open(path, "wb") as stream:  # git's own temporary file
        stream.write(raw)


def _say(line: str) -> None:
    sys.stderr.write("paramstore: " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in line) + "\n")


DRIVERS: dict[str, Callable[..., int]] = {
    "merge-values": merge_values,
    "merge-journal": merge_journal,
    "show": show,
    "show-journal": show_journal,
    "diff": diff,
    "diff-journal": diff_journal,
}


def main(words: Sequence[str]) -> int:
    """Run the driver that the first word names on the files that the others name; return the exit status."""
    try:
        return DRIVERS[words[0]](*words[1:])
    except Exception as error:  # noqa: BLE001 - whatever it is, git's own way is better than a file half merged
        _say(f"{words[0]} failed, git goes on plainly: {type(error).__name__}: {error}")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
