"""Parameters in git: ``commit``, ``git install``, ``git uninstall``, ``git sync``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paramstore import ParamStore
from paramstore.cli._output import count_of, patience, print_json, say
from paramstore.cli._shared import json_option, root_in_files, timeout_option

if TYPE_CHECKING:
    from paramstore._backends.local import LocalBackend
    from paramstore._git_commit import Committed

PUSH_TRIES = 5
SHOWN_HASH = 10


def _files_of(store: ParamStore) -> LocalBackend:
    from paramstore._backends.local import LocalBackend

    return LocalBackend(root_in_files(store, "git"), store.options)


@click.command(
    short_help="Turn journal entries into git commits.",
    epilog="Example: paramstore commit --by-author",
)
@click.option("--by-author", is_flag=True, help="One git commit for each run of entries of one author.")
@click.option("--dry-run", is_flag=True, help="Show the messages, commit nothing.")
@timeout_option
@json_option
@click.pass_obj
def commit(store: ParamStore, by_author: bool, dry_run: bool, timeout_s: float | None, as_json: bool) -> None:
    """Commit to git what the journal holds since the last git commit; the message comes from the journal.

    Only values files and the journal are committed; what else is staged stays staged. Edits by hand are recorded
    first. No git hooks run: the store's rules have been kept already. Where git does not hold the journal, there is one
    commit, also with --by-author, and only if values differ.
    """
    from paramstore._git_commit import commit as made_of

    backend, told = _files_of(store), list[str]()
    with patience("committing"), backend.session(timeout_s or store.options.timeout_s, None) as session:
        made = made_of(backend, by_author, dry_run, session, told.append)
    if as_json:
        commits = [_commit_json(each) for each in made]
        print_json({"commits": commits, "dry_run": dry_run, "information": told})
        return
    for each_said in told:
        say(f"information: {each_said}", "dim")
    if not made:
        say("nothing to commit: git has every journal entry")
    for each in made:
        _show_commit(each, dry_run)


def _commit_json(made: Committed) -> dict[str, object]:
    revisions = [entry.revision for entry in made.entries]
    authors = list(dict.fromkeys(entry.author for entry in made.entries))
    return {
        "commit": made.commit or None,
        "message": made.message,
        "revisions": revisions,
        "authors": authors,
    }


def _show_commit(made: Committed, dry_run: bool) -> None:
    if dry_run:
        for line in made.message.rstrip("\n").split("\n"):
            say(line)
        say()
        return
    say(f"{made.commit[:SHOWN_HASH]} {made.message.partition(chr(10))[0]}")


@click.group(
    "git",
    short_help="Teach git what parameters are: diff, merge, sync.",
    epilog="Example: paramstore git install",
)
def git_() -> None:
    """Teach git what parameters are, and keep a machine that learns in step with a remote."""


@git_.command("install", epilog="Example: paramstore git install")
@json_option
@click.pass_obj
def install(store: ParamStore, as_json: bool) -> None:
    """Have plain `git diff`, `git log -p` and `git merge` understand values files and journals.

    Writes .gitattributes beside params/ (commit it) and this clone's git config (each clone has its own).
    """
    from paramstore._git_install import install as set_up

    done = set_up(root_in_files(store, "git"), store.options.journal)
    _show_installed("wrote", done.files, done.config, as_json)
    if done.files and not as_json:
        say("Next: commit .gitattributes; run this once in every clone.")


@git_.command("uninstall", epilog="Example: paramstore git uninstall")
@json_option
@click.pass_obj
def uninstall(store: ParamStore, as_json: bool) -> None:
    """Take back what `paramstore git install` wrote."""
    from paramstore._git_install import uninstall as take_back

    done = take_back(root_in_files(store, "git"))
    _show_installed("took back", done.files, done.config, as_json)


def _show_installed(did: str, files: tuple[str, ...], config: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print_json({"files": list(files), "config": list(config)})
        return
    for name in files:
        say(f"{did} {name}")
    for name in config:
        say(f"{did} git config {name}")
    if not files and not config:
        say("nothing to do")


@git_.command("sync", epilog="Example: paramstore git sync --prefer remote")
@click.option("--remote", metavar="NAME", help="Default: the branch's upstream, else origin.")
@click.option("--branch", metavar="NAME", help="The remote's branch. Default: the upstream's.")
@click.option(
    "--prefer", type=click.Choice(["remote", "local"]), help="Whose value stands where both sides changed it."
)
@click.option("--no-push", is_flag=True, help="Only commit and pull.")
@click.option(
    "--tries",
    type=click.IntRange(min=1),
    default=PUSH_TRIES,
    show_default=True,
    metavar="N",
    help="Rounds while others push.",
)
@timeout_option
@json_option
@click.pass_obj
def sync(
    store: ParamStore,
    *,
    remote: str | None,
    branch: str | None,
    prefer: str | None,
    no_push: bool,
    tries: int,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Commit, pull with rebase and push, beside a running bot and its learners.

    The rebase takes place in a work tree of its own; the files move at once, under the store's lock. If both sides
    changed a value and --prefer does not decide, nothing moves and the exit status is 1.
    """
    from paramstore._git_sync import Sync

    with patience("in step with the remote"):
        done = Sync(_files_of(store), remote, branch, prefer).run(
            tries, not no_push, timeout_s or store.options.timeout_s
        )
    if as_json:
        print_json(
            {"commits": done.commits, "pulled": done.pulled, "pushed": done.pushed, "rounds": done.rounds,
             "information": done.told}
        )  # fmt: skip
        return
    for told in done.told:
        say(f"information: {told}", "dim")
    said = f"committed {len(done.commits)}, pulled {count_of(done.pulled, 'commit')}, pushed {done.pushed}"
    say(said if done.commits or done.pulled or done.pushed else "in step already")
