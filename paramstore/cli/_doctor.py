"""Whether learning is alive: ``doctor``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from paramstore import ParamStore
from paramstore._as_json import report_json
from paramstore._clock import span_text
from paramstore._doctor_report import Learner, Parameter, Report
from paramstore._looked import looked
from paramstore._model import Entry
from paramstore._values import nearest
from paramstore.cli._output import Row, count_of, patience, place_text, print_json, say, table, value_text
from paramstore.cli._shared import json_option

if TYPE_CHECKING:
    from paramstore._looked import Looked
    from paramstore._sources import Named

WORDS = {
    "never_changed": "never changed",
    "stale": "stale",
    "at_bound": "at a bound",
    "at_step_limit": "at its step limit",
    "flipping": "back and forth",
    "drifting": "drifting",
    "never_read": "never read",
    "not_in_code": "not in the source",
    "frozen": "frozen",
}


@click.command(short_help="Tell whether learning is alive.", epilog="Example: paramstore doctor --source src")
@click.option(
    "--source", "sources", multiple=True, metavar="DIR", help="Also tell which keys the code here does not name."
)  # fmt: skip
@click.option("--learner", metavar="NAME", help="Only this learner and its parameters.")
@click.option("--all", "everything", is_flag=True, help="Every parameter, and what is said for information.")
@json_option
@click.pass_obj
@click.pass_context
def doctor(
    ctx: click.Context,
    store: ParamStore,
    sources: tuple[str, ...],
    learner: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Tell whether learning is alive: learners that fell silent or are refused, parameters that no longer
    move, or move oddly.

    Exits 1 when there is a finding. The settings `doctor_…` say when something is one. With PARAMSTORE_BACKEND this
    machine's mirror of the cluster is looked at; that it is not in step is a finding.
    """
    from paramstore._examined import examined

    folders = _folders(store, sources)
    mirror = looked(store)
    with patience("reading the journal"):
        entries = store.history(refused=True)
    named = _named(store, folders) if folders else None
    report = examined(store, entries, None if named is None else named.keys)
    if learner is not None:
        report = _only(report, learner, entries)
    if as_json:
        print_json(report_json(report, named.unparsed if named is not None else (), mirror))
    else:
        _show(report, named, mirror, everything)
    ctx.exit(0 if _is_ok(report, mirror) else 1)


def _is_ok(report: Report, mirror: Looked | None) -> bool:
    return report.ok and not (mirror and mirror.problem)


# --- what is looked at ----------------------------------------------------------------------------


def _folders(store: ParamStore, given: tuple[str, ...]) -> list[str]:
    """Return the folders with source code: as given, else as set, which is relative to the store's root."""
    folders = [os.path.join(store.root or "", name) for name in store.options.doctor_sources]
    for folder in given or folders:
        if not os.path.isdir(folder):
            named_by = "--source" if given else "the setting doctor_sources"
            raise click.UsageError(f"{named_by} names {folder}, which is no directory")
    return list(given) or folders


def _named(store: ParamStore, folders: list[str]) -> Named:
    from paramstore._sources import files, named_in

    paths = files(folders)
    with patience("reading the source", len(paths)) as advance:
        return named_in(paths, store.keys(), advance)


def _only(report: Report, author: str, entries: Iterable[Entry]) -> Report:
    known = [learner.author for learner in report.learners]
    if author not in known:
        close = nearest(author, known)
        raise click.UsageError(
            f"{author} is no learner here" + (f"; did you mean {close[0]}?" if close else "")
        )
    changed = {change.key for entry in entries if entry.author == author for change in entry.changes}
    return replace(
        report,
        learners=tuple(learner for learner in report.learners if learner.author == author),
        parameters=tuple(p for p in report.parameters if p.owner == author or p.key in changed),
    )


# --- words ----------------------------------------------------------------------------------------


def _show(report: Report, named: Named | None, mirror: Looked | None, everything: bool) -> None:
    if report.learners:
        columns = (
            "~learner",
            "last commit",
            ">commits",
            ">refused",
            "~because of",
            "usual interval",
            "~state",
        )
        table(columns, [_learner_row(learner, report.now) for learner in report.learners])
    else:
        say("nobody owns a parameter, and nobody has changed one yet")
    shown = [p for p in report.parameters if everything or _has_something_to_say(p)]
    if shown:
        say()
        table(
            ("parameter", ">value", "~owner", "last change", "~notes"), [_row(p, report.now) for p in shown]
        )
    say()
    _show_notes(report, named, mirror, everything)


def _show_notes(report: Report, named: Named | None, mirror: Looked | None, everything: bool) -> None:
    information, findings = list(report.notes("information")), list(report.notes("finding"))
    kept = [(subject, note) for subject, note in information if everything or isinstance(subject, Learner)]
    for path, why in named.unparsed if named is not None else ():
        say(f"information: {path}: {why}; it counts as naming each key whose text is in it", "dim")
    for subject, note in kept:
        say(f"information: {_name(subject)}: {note.text}", "dim")
    if len(kept) < len(information):
        say(f"{count_of(len(information) - len(kept), 'note')} for information; see --all", "dim")
    if mirror is not None and not mirror.problem:
        say(f"information: {mirror.url}: {mirror.text}", "dim")
    said = [f"{_name(subject)}: {note.text}" for subject, note in findings]
    if mirror is not None and mirror.problem:
        said.append(f"{mirror.url}: {mirror.text}")
    for line in said:
        say(line, "red")
    say(count_of(len(said), "finding") if said else "no findings", "bold red" if said else "bold green")


def _has_something_to_say(parameter: Parameter) -> bool:
    return any(note.level == "finding" or note.rule == "frozen" for note in parameter.notes)


def _learner_row(learner: Learner, now: float) -> Row:
    interval = "" if learner.interval_s is None else span_text(learner.interval_s)
    bad = any(note.level == "finding" for note in learner.notes)
    cells = (
        learner.author, _ago(learner.last_commit, now), str(learner.commits), str(learner.refusals),
        _counts(learner.refused_by), interval, _state(learner, now),
    )  # fmt: skip
    return Row(cells, "red" if bad else "" if learner.learns else "dim")


def _state(learner: Learner, now: float) -> str:
    if not learner.learns:
        return "a person"
    if learner.last_attempt is None:
        return "never committed"
    if learner.silent is None:
        return "too new to tell"
    return f"silent for {span_text(now - learner.last_attempt)}" if learner.silent else "alive"


def _row(parameter: Parameter, now: float) -> Row:
    bad = any(note.level == "finding" for note in parameter.notes)
    said = ", ".join(WORDS.get(note.rule, note.rule) for note in parameter.notes)
    last = _ago(parameter.last_change, now)
    cells = (_name(parameter), value_text(parameter.value), parameter.owner or "", last, said)
    return Row(cells, "red" if bad else "")


def _name(subject: Learner | Parameter) -> str:
    return subject.author if isinstance(subject, Learner) else place_text(subject.key, subject.context)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _ago(time: float | None, now: float) -> str:
    if time is None:
        return "never"
    return f"{span_text(now - time)} ago" if now - time >= 1 else "just now"
