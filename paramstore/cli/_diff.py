"""What differs between two sides, who made it, and which rules differ: ``diff``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from paramstore import ParamStore
from paramstore._as_json import comparison_json
from paramstore._figures import change_text, move_text, place_text, value_text
from paramstore._model import ABSENT
from paramstore._state import split_key
from paramstore.cli._output import Row, count_of, patience, print_json, put, say, table, time_text
from paramstore.cli._shared import json_option

if TYPE_CHECKING:
    from paramstore._compare import Comparison, Difference, Recorded, RuleChange

DIFFERENT = 1  # as git has it
COLUMNS = ("key", ">old", ">new", ">change", "~position", "~made by", "~bound by")
BY_HAND = "edited by hand, not recorded"
NOTHING = "no value differs between"


@click.command(
    short_help="Show what changed, who did it and why.",
    epilog="Example: paramstore diff, paramstore diff 12, paramstore diff main..feature, or paramstore diff HEAD~1 --markdown",
)
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--markdown", is_flag=True, help="Print a table for a comment on a pull request.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when anything differs, as git has it.")
@json_option
@click.pass_obj
def diff(
    store: ParamStore, *, a: str | None, b: str | None, markdown: bool, exit_code: bool, as_json: bool
) -> None:
    """Show what changed from A to B: values, who changed them and why, and rules of the schemas.

    A and B are each a revision (42), a time (2026-01-31T12:00:00, UTC if it names no zone), a git commit, branch or
    tag (HEAD~1, main, v1), or a values file (its name ends in .yaml; compared with its namespace). `A..B` is both in
    one word, and `A...B` what B changed since it parted from A. Without B: the files as they are now. Without A as
    well: what is not committed to git, which is HEAD against the files; where there is no git commit, what the
    journal has no entry of.

    A number is a revision, never a branch of that name. To say which is meant: revision:42, git:42, file:x.yaml.
    """
    from paramstore._sides import BothAtOnceError, Sides

    if markdown and as_json:
        raise click.UsageError("--markdown and --json are two forms of the same: give one")
    try:
        with patience("reading both sides"):
            found = Sides(store).compared([word for word in (a, b) if word is not None])
    except BothAtOnceError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(comparison_json(found))
    elif markdown:
        from paramstore.cli._diff_markdown import document

        put(document(found))
    else:
        _show(found)
    if exit_code and not found.empty:
        raise click.exceptions.Exit(DIFFERENT)


# --- for people -----------------------------------------------------------------------------------


def _show(found: Comparison) -> None:
    if found.empty:
        say(f"{NOTHING} {found.a} and {found.b}")
        return
    say(f"{found.a} → {found.b}", "bold")
    for line in namespaces_said(found):
        say(line)
    single = singles(found)
    if single:
        say()
        table(*used_columns(COLUMNS, [Row(cells(each)) for each in single]))
    entries = entries_of(single)
    if entries:
        say()
        rows = [
            Row((number_text(each), time_text(each.time), _kind(each), each.author, each.reason))
            for each in entries
        ]
        table((">revision", "time", "kind", "~author", "~reason"), rows)
    if found.rules:
        say()
        rules = [Row(rule_cells(rule), "yellow" if rule.effect == "looser" else "") for rule in found.rules]
        table(("rules", "rule", ">old", ">new", "now"), rules)


def used_columns(columns: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[Row]]:
    """Leave out columns in which no row says anything."""
    used = [index for index in range(len(columns)) if any(row.cells[index] for row in rows)]
    kept = [Row(tuple(row.cells[index] for index in used), row.style) for row in rows]
    return [columns[index] for index in used], kept


def namespaces_said(found: Comparison) -> list[str]:
    """Say which namespaces came and went, one line each: their values are not worth a line of their own."""
    lines = []
    for word, names in (("came", found.came), ("went", found.went)):
        for name in names:
            number = sum(split_key(each.key)[0] == name for each in found.differences)
            lines.append(f"namespace {name} {word}: {count_of(number, 'value')}")
    return lines


def singles(found: Comparison) -> list[Difference]:
    """Return the differences in namespaces that both sides have."""
    whole = {*found.came, *found.went}
    return [each for each in found.differences if split_key(each.key)[0] not in whole]


def cells(each: Difference) -> tuple[str, ...]:
    """Write one difference: place, old, new, change, position, by whom, bound by what."""
    return (
        place_text(each.key, each.context),
        _value(each.old),
        _value(each.new),
        change_text(each.old, each.new),
        move_text(each.old_position, each.new_position, each.old_leaf, each.new_leaf),
        made_text(each.recorded),
        bound_text(each.recorded),
    )


def _value(value: Any) -> str:
    return "-" if value is ABSENT else value_text(value)


def made_text(made: Recorded | None) -> str:
    """Say which entry a difference comes from: ``revision 5, the last of 3``."""
    if made is None:
        return BY_HAND
    said = f"without revision {made.revision}" if made.undone else f"revision {made.revision}"
    more = f", the last of {made.count}" if made.count > 1 else ""
    return said + more + ("" if made.complete else "; since then by hand, not recorded")


def bound_text(made: Recorded | None) -> str:
    """Say what kept a request from being applied as it was, and which guards force passed."""
    if made is None or made.undone:
        return ""
    parts = [f"{made.bound_by} (asked for {_value(made.requested)})"] if made.bound_by else []
    parts += [f"forced past {', '.join(made.overrode)}"] if made.overrode else []
    return "; ".join(parts)


def entries_of(differences: Sequence[Difference]) -> list[Recorded]:
    """Return the entries that differences come from, each once, in the order of their revisions."""
    found = {each.recorded.id: each.recorded for each in differences if each.recorded is not None}
    return sorted(found.values(), key=lambda each: (each.undone, each.revision))


def number_text(made: Recorded) -> str:
    """Number an entry; one that only the old side has may share its revision with another one."""
    return f"without {made.revision}" if made.undone else str(made.revision)


def _kind(made: Recorded) -> str:
    return f"{made.kind}, forced" if made.overrode else made.kind


def rule_cells(rule: RuleChange) -> tuple[str, ...]:
    """Write one rule: where, word, old, new, and whether it allows more."""
    return rule.key, rule.word, _value(rule.old), _value(rule.new), rule.effect
