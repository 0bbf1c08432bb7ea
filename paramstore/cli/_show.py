"""What stands now: ``get``, ``list``, ``explain``."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import click

from paramstore import ParamStore
from paramstore._as_json import explanation_json, listed_json
from paramstore._environment import variable
from paramstore._listing import Listed, listing
from paramstore._model import Change, Explanation, Spec
from paramstore._values import thaw
from paramstore.cli._output import (
    Row,
    ago,
    at_terminal,
    at_text,
    change_text,
    patience,
    place_text,
    print_json,
    put,
    say,
    table,
    time_text,
    value_text,
)
from paramstore.cli._shared import at_option, context_of, json_option, pattern_of

NONE_YET = "no parameters yet; `paramstore init --namespace NAME` writes the frame of a first namespace"
BY_HAND = "edited by hand, not yet recorded"


@click.command(
    short_help="Print one value.", epilog="Example: paramstore get signal_weights.funding --at symbol=BTCUSDT"
)
@click.argument("key")
@at_option
@json_option
@click.pass_obj
def get(store: ParamStore, key: str, at: tuple[str, ...], as_json: bool) -> None:
    """Print the value of KEY, and nothing else."""
    context = context_of(store, at)
    snapshot = store.snapshot()
    value = snapshot.in_context(context)[key]
    if as_json:
        revision = snapshot.revision
        print_json({"key": key, "value": thaw(value), "context": context, "revision": revision})
    else:
        put(value_text(value))


# --- list ---------------------------------------------------------------------------------------


@click.command(
    "list",
    short_help="Show parameters with bounds and last changes.",
    epilog="Example: paramstore list 'signal_weights.*' --changed",
)
@click.argument("pattern", required=False)
@click.option("--namespace", metavar="NAME", help="Only this namespace.")
@click.option("--changed", is_flag=True, help="Only values that differ from the schema's default.")
@json_option
@click.pass_obj
def list_(
    store: ParamStore, pattern: str | None, namespace: str | None, changed: bool, as_json: bool
) -> None:
    """Show parameters: value, bounds, unit, last change, and overrides as `@dimension=value`.

    PATTERN is a key, a namespace, a group, or a shell-style pattern. A `*` marks a value that differs
    from the schema's default.
    """
    keys = set(store.keys(pattern_of(store, pattern))) if pattern else set(store.keys())
    if namespace is not None:
        keys &= set(store.keys(pattern_of(store, namespace)))
    with patience("reading the journal"):
        lines = [line for line in listing(store, keys) if line.changed or not changed]
    if as_json:
        print_json([listed_json(line) for line in lines])
    elif lines:
        _show_lines(lines)
    else:
        say("no value differs from its default" if changed and store.keys() else NONE_YET)


def _show_lines(lines: list[Listed]) -> None:
    rows: list[Row] = []
    grouped, group = at_terminal(), ""
    for line in lines:
        namespace, _, path = line.spec.key.partition(".")
        if grouped and namespace != group:
            group = namespace
            rows += [Row(("",) * 7)] * bool(rows) + [Row((namespace, *("",) * 6), "bold cyan")]
        rows += _rows(line, f"  {path}" if grouped else line.spec.key)
    table(("key", ">value", "bounds", "~unit", "learnable", "~last change", "~by"), rows)
    if any(line.changed for line in lines):
        say("* differs from the schema's default", "dim")


def _rows(line: Listed, name: str) -> list[Row]:
    spec, last = line.spec, line.last
    when = BY_HAND if line.by_hand else ago(last.time) if last else ""
    who = last.author if last and not line.by_hand else ""
    value = ("* " if line.changed else "") + value_text(line.value)
    if line.context:
        return [Row((f"    {at_text(line.context)}", value, "", "", "", when, who), "yellow")]
    learnable = "frozen" if line.frozen else "yes" if spec.learnable else ""
    rows = [Row((name, value, bounds_text(spec), spec.unit, learnable, when, who))]
    if line.environment is not None:
        here = f"    ${variable(spec.key)}"
        rows.append(Row((here, value_text(line.environment), "", "", "", "in this environment", ""), "red"))
    return rows


def bounds_text(spec: Spec) -> str:
    """Write what values a parameter may have, as far as its schema limits them."""
    low, high = spec.minimum, spec.maximum
    if spec.choices is not None:
        return " | ".join(map(value_text, spec.choices))
    if low is not None and high is not None:
        return f"{value_text(low)} … {value_text(high)}"
    if low is not None:
        return f"≥ {value_text(low)}"
    return f"≤ {value_text(high)}" if high is not None else ""


# --- explain ------------------------------------------------------------------------------------


@click.command(
    short_help="Show why a value is what it is.",
    epilog="Example: paramstore explain signal_weights.funding --at symbol=BTCUSDT",
)
@click.argument("key")
@at_option
@json_option
@click.pass_obj
def explain(store: ParamStore, key: str, at: tuple[str, ...], as_json: bool) -> None:
    """Show why KEY has the value it has: every layer, lowest first, its rules, and its last change."""
    context = context_of(store, at)
    with patience("reading the journal"):
        found = store.explain(key, **context)
        pending = [change for change in store.pending() if change.key == key]
        frozen = [freeze for freeze in store.freezes() if fnmatchcase(key, freeze.pattern)]
    if as_json:
        print_json(explanation_json(found, frozen))
        return
    say(f"{place_text(key, found.context)} = {value_text(found.value)}   (revision {found.revision})", "bold")
    if found.spec.description:
        say(found.spec.description)
    say()
    _show_layers(found)
    say()
    for line in _rules(found.spec):
        say(line)
    for freeze in frozen:
        until = f" until {time_text(freeze.until)}" if freeze.until else ""
        say(
            f"frozen by {freeze.author} {ago(freeze.since)}{until} ({freeze.pattern}): {freeze.reason}",
            "bold red",
        )
    say()
    _show_last_change(found, pending)


def _show_layers(found: Explanation) -> None:
    rows = []
    for layer in found.layers:
        wins = layer is found.winner
        note = "wins" if wins else "" if layer.applies else "does not apply here"
        style = "bold green" if wins else "" if layer.applies else "dim"
        rows.append(Row((layer.name, value_text(layer.value), layer.source, note), style))
    table(("layer", ">value", "~from", ""), rows)


def _rules(spec: Spec) -> Iterator[str]:
    bounds = bounds_text(spec)
    default = "" if spec.default is None else f", default {value_text(spec.default)}"
    yield f"{spec.type}{bounds and ' ' + bounds}{spec.unit and f' ({spec.unit})'}{default}"
    if not spec.learnable:
        yield "not learnable: meant to be changed by people"
    limits = {
        "owner": spec.owner,
        "decimals": spec.decimals,
        "largest step": spec.max_step,
        "largest relative step": spec.max_step_relative,
        "cooldown (s)": spec.cooldown_s,
        "least samples": spec.min_samples,
        "largest drift": spec.max_drift,
        "evidence": ", ".join(spec.evidence) or None,
    }
    said = [f"{name} {value_text(limit)}" for name, limit in limits.items() if limit is not None]
    if spec.learnable:
        yield ", ".join(["learnable", *said])
    yield spec.schema_file


def _show_last_change(found: Explanation, pending: list[Change]) -> None:
    for change in pending:
        say(f"{BY_HAND}: {place_text(change.key, change.context)} {change_text(change)}", "yellow")
    last = found.last_change
    if last is None:
        say("no change is recorded yet")
        return
    say(f"last change: revision {last.revision}, {ago(last.time)} ({time_text(last.time)}), by {last.author}")
    for change in last.changes:
        say(f"  {place_text(change.key, change.context)} {change_text(change)}")
    if last.reason:
        say(f"  reason: {last.reason}")
    for name, value in last.evidence.items():
        say(f"  evidence: {name} = {value_text(value)}")
