"""What changes values: ``set``, ``rollback``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from paramstore import ParamStore
from paramstore._as_json import kept_json, result_json
from paramstore._environment import parse
from paramstore._model import ABSENT, Change, CommitResult
from paramstore.cli._output import change_text, place_text, print_json, say, value_text
from paramstore.cli._shared import (
    at_option,
    author_of,
    author_option,
    context_of,
    dry_run_option,
    force_option,
    json_option,
    pattern_of,
    reason_option,
    timeout_option,
)


@click.command(
    "set",
    context_settings={"ignore_unknown_options": True},  # or -0.5 would be taken for an option
    short_help="Change values in one transaction.",
    epilog="Example: paramstore set signal_weights.funding 0.15 signal_weights.hurst 0.09 --reason review",
)
@click.argument("words", nargs=-1, required=True, metavar="KEY VALUE [KEY VALUE ...]")
@at_option
@author_option
@reason_option
@force_option
@dry_run_option
@click.option("--expected-revision", type=click.IntRange(min=0), metavar="N", help="Refuse unless N stands.")
@click.option("--unset", is_flag=True, help="Remove the values written for --at; give keys only.")
@timeout_option
@json_option
@click.pass_obj
def set_(
    store: ParamStore,
    *,
    words: tuple[str, ...],
    at: tuple[str, ...],
    author: str | None,
    reason: str,
    force: bool,
    dry_run: bool,
    expected_revision: int | None,
    unset: bool,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Change values in one transaction: all of them, or none.

    With --at the values are written for exactly that context. A negative VALUE is written as it is. The limits that
    bind learners bind this command as well, unless --force says that a person has decided.
    """
    _refuse_options(words)
    wanted = _removals(words, at) if unset else _pairs(words)
    context = context_of(store, at)
    requests = {key: _typed(store, key, text) for key, text in wanted.items()}
    with store.transaction(
        author=author_of(store, author),
        reason=reason,
        expected_revision=expected_revision,
        dry_run=dry_run,
        force=force,
        timeout_s=timeout_s,
    ) as tx:
        for key, value in requests.items():
            tx.request(key, value, context)
    _report(tx.commit_result, as_json)


def _refuse_options(words: tuple[str, ...]) -> None:
    """Tell a misspelt option from a value: click leaves both to us, for the sake of negative numbers."""
    for word in words:
        if word.startswith("--"):
            hint = "; it stands before the command" if word.partition("=")[0] == "--root" else ""
            raise click.UsageError(f"no such option: {word}{hint}")


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    if len(words) % 2:
        raise click.UsageError(f"keys and values come in pairs; `{words[-1]}` is left over")
    _refuse_twice(words[::2])
    return dict(zip(words[::2], words[1::2], strict=True))


def _removals(words: tuple[str, ...], at: tuple[str, ...]) -> dict[str, Any]:
    if not at:
        raise click.UsageError("--unset needs --at: only a value for a context can be removed")
    _refuse_twice(words)
    return dict.fromkeys(words, ABSENT)


def _refuse_twice(keys: tuple[str, ...]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise click.UsageError(f"`{key}` is named twice")


def _typed(store: ParamStore, key: str, text: Any) -> Any:
    spec = store.spec(key)
    return text if text is ABSENT else parse(text, spec.type)


@click.command(
    short_help="Bring back the values of an earlier revision.",
    epilog="Example: paramstore rollback 12 --keys 'signal_weights.*' --reason 'lost money'",
)
@click.argument("to")
@click.option("--keys", metavar="PATTERN", help="Only these parameters; a namespace stands for all in it.")
@click.option(
    "--by", metavar="AUTHOR", help="Only what this author did after TO; what others did since stays."
)
@author_option
@reason_option
@force_option
@dry_run_option
@timeout_option
@json_option
@click.pass_obj
def rollback(
    store: ParamStore,
    *,
    to: str,
    keys: str | None,
    by: str | None,
    author: str | None,
    reason: str,
    force: bool,
    dry_run: bool,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Make a new revision with the values of revision or time TO; history is never rewritten.

    With --by, each value that AUTHOR gave after TO becomes what someone else last wrote since, else what stood at TO.
    What stays as it is, because others have changed it since or because it did not exist then, is named.

    The limits that bind learners do not apply. What is frozen stays, unless --force is given.
    """
    result = store.rollback(
        to,
        author=author_of(store, author),
        reason=reason,
        keys=pattern_of(store, keys) if keys is not None else None,
        by=by,
        dry_run=dry_run,
        force=force,
        timeout_s=timeout_s,
    )
    _report(result, as_json, {"kept": kept_json(result)})
    for stays in () if as_json else result.kept:
        say(f"{place_text(stays.key, stays.context)} stays as it is: {stays.why}")
    if by is not None and result.kept and not as_json:
        say(
            f"To bring back what stood at {to} whoever changed it since: the same with --keys KEY in place of --by"
        )


def _report(result: CommitResult, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    if as_json:
        print_json({**result_json(result), **(more or {})})
        return
    if not result.changes:
        say(f"nothing changed; revision {result.revision} stands")
    for change in result.changes:
        place, moved = place_text(change.key, change.context), change_text(change)
        say(f"{place}: {moved}{_bound(change)}{_stands(result)}")


def _bound(change: Change) -> str:
    if change.overrode:
        return f" (forced past {', '.join(change.overrode)})"
    if change.bound_by is None:
        return ""
    return f" (bound by {change.bound_by}; {value_text(change.requested)} was asked for)"


def _stands(result: CommitResult) -> str:
    if result.dry_run:
        return f" (dry run; revision {result.revision} stands)"
    return f" (revision {result.revision})"
