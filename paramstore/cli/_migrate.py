"""From literals in source to live parameters: ``migrate scan apply verify revert lint import``."""

from __future__ import annotations

import os
from typing import Any

import click

from paramstore import ParamStore, __version__
from paramstore.cli._output import (
    Row,
    at_terminal,
    complain,
    count_of,
    patience,
    place_text,
    print_json,
    put,
    say,
    table,
    value_text,
)  # fmt: skip
from paramstore.cli._shared import author_of, author_option, dry_run_option, json_option, reason_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from paramstore.migrate import Plan
    from paramstore.migrate._lint import Lint
    from paramstore.migrate._plan import Place

PLAN = click.argument("plan", metavar="PLAN")
STYLES = {"yes": "", "review": "dim", "no": "dim"}
FORMATS = click.Choice(["table", "json", "sarif"])


@click.group(
    short_help="Move literals of existing code into the store.", epilog="Example: paramstore migrate scan src"
)
def migrate() -> None:
    """Move hardcoded numbers out of source into the store, with proof that behaviour stays.

    scan writes a plan, apply shows and makes the change, verify proves it, revert takes it back, lint finds
    what is new. The code is parsed only; nothing is imported, except by `verify --run`.
    """


@migrate.command(
    short_help="Find literals and write a plan.",
    epilog="Example: paramstore migrate scan src --plan plan.yaml",
)
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=click.Path(exists=True))
@click.option(
    "--plan",
    "plan_path",
    default="plan.yaml",
    show_default=True,
    metavar="FILE",
    help="The plan to write, or to merge with.",
)
@click.option("--all", "every", is_flag=True, help="Also what is no tunable, tests and hidden directories.")
@click.option("--format", "form", type=FORMATS, default="table", show_default=True, help="What to print.")
@json_option
def scan(sources: tuple[str, ...], plan_path: str, every: bool, form: str, as_json: bool) -> None:
    """Find the literals in SRC that may move, and write them to a plan for you to read and edit.

    A plan that exists is merged: what you decided in it stays.
    """
    from paramstore.migrate import _plan, make_plan, moved
    from paramstore.migrate._report import sarif

    with patience("scanning") as advance:
        plan = make_plan(list(sources), plan_path, every, lambda _: advance())
    _write(plan_path, _plan.text_of(plan, os.path.basename(plan_path)))
    if as_json or form == "json":
        print_json({"plan": plan_path, "sites": plan.sites, "shared": plan.shared, "skipped": plan.skipped})
    elif form == "sarif":
        print_json(sarif(plan.sites, __version__))
    else:
        _show_plan(plan, moved(plan_path), plan_path)


def _write(path: str, text: str) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, path)


def _show_plan(plan: Plan, done: set[Place], path: str) -> None:
    from paramstore.migrate._plan import place_of

    by_file: dict[str, list[dict[str, Any]]] = {}
    for site in plan.sites:
        by_file.setdefault(site["file"], []).append(site)
    for file, members in by_file.items():
        say(file, "bold")
        rows = [Row(tuple(_cells(site, place_of(site) in done)), STYLES[site["tier"]]) for site in members]
        table([">line", ">literal", "~key", "shape", "tier", "liveness", "move"], rows)
        say()
    for file, why in sorted(plan.skipped.items()):
        say(f"not scanned: {file} {why}", "yellow")
    counts = {tier: sum(site["tier"] == tier for site in plan.sites) for tier in ("yes", "review", "no")}
    say(
        f"{count_of(len(plan.sites), 'site')} in {count_of(len(by_file), 'file')}: "
        + ", ".join(f"{n} {tier}" for tier, n in counts.items() if n)
    )
    if plan.shared:
        say(f"{count_of(len(plan.shared), 'set')} of copies: `shared` in {path} offers one key for each.")
    is_moved = [place_of(site) in done for site in plan.sites]
    left = sum(site["accept"] and not gone for site, gone in zip(plan.sites, is_moved, strict=True))
    moved_text = f"{sum(is_moved)} moved already, " if any(is_moved) else ""
    if left:
        say(
            f"{moved_text}{left} accepted. Next: read and edit {path}, then `paramstore migrate apply {path}`."
        )
    else:
        say(f"{moved_text}none accepted: set `accept: true` in {path} where a literal shall move.")


def _cells(site: dict[str, Any], gone: bool) -> list[str]:
    literal = " ".join(site["literal"].split())
    short = literal if len(literal) <= 24 else f"{literal[:23]}…"
    place = [str(site["line"]), short, site["key"], site["shape"], site["tier"], site["liveness"]]
    return [*place, "moved" if gone else "yes" if site["accept"] else ""]


@migrate.command(
    short_help="Show or make the change that a plan asks for.",
    epilog="Example: paramstore migrate apply plan.yaml --write",
)
@PLAN
@click.option("--write", is_flag=True, help="Write schemas, values and sources: all of them or none.")
@json_option
@click.pass_context
def apply(ctx: click.Context, plan: str, write: bool, as_json: bool) -> None:
    """Show the diff of what PLAN accepts; with --write, make it.

    Exits 1 when a file was refused because it has changed since the scan.
    """
    from paramstore.migrate import apply as run

    done = run(plan, ctx.find_root().params["root"], write)
    if as_json:
        print_json(
            {name: getattr(done, name) for name in ("written", "completed", "sites", "refused", "diff")}
        )
    else:
        for text in done.diff.values():
            _show_diff(text)
        for file, why in sorted(done.refused.items()):
            complain(f"{file} {why}.")
        if done.completed:
            say("The change that was begun before is completed.", "bold green")
        if not done.sites:
            say("Nothing is left to move.")
        elif done.written:
            say(
                f"{count_of(done.sites, 'literal')} moved, {count_of(len(done.diff), 'file')} written. Next: "
                f"`paramstore migrate verify {plan}`.",
                "bold green",
            )
        else:
            say(
                f"{count_of(done.sites, 'literal')} would move, {count_of(len(done.diff), 'file')} would change. Nothing was "
                "written; --write does it."
            )
    ctx.exit(1 if done.refused else 0)


def _show_diff(text: str) -> None:
    if not at_terminal():
        put(text.rstrip("\n"))
        return
    for line in text.splitlines():
        style = (
            "green"
            if line.startswith("+")
            else "red"
            if line.startswith("-")
            else "cyan"
            if line.startswith("@")
            else ""
        )
        say(line, style)


@migrate.command(
    short_help="Prove that what was applied changes nothing.",
    epilog="Example: paramstore migrate verify plan.yaml --run",
)
@PLAN
@click.option("--run", is_flag=True, help="IMPORT AND RUN your modules, to see each read follow a commit.")
@click.option(
    "--learned", is_flag=True, help="Values committed since are no fault: prove the code with the literals'."
)
@json_option
@click.pass_context
def verify(ctx: click.Context, plan: str, run: bool, learned: bool, as_json: bool) -> None:
    """Prove PLAN: the literals put back give the original bytes, and the store's values the original code.

    With --run each rewritten module is imported in a process of its own, a copy of the store is changed by
    another process, and the next read must see it. Exits 1 when something does not hold.
    """
    from paramstore.migrate import verify as prove

    with patience("probing") as advance:
        proof, probes = prove(plan, run, learned, lambda _: advance())
    wrong = [each for each in probes if each["problem"]]
    if as_json:
        print_json(
            {
                "ok": not (proof.problems or wrong),
                "proved": proof.proved,
                "problems": proof.problems,
                "changed": proof.changed,
                "edited": proof.edited,
                "probes": probes,
            }
        )
    else:
        _show_proof(proof.proved, proof.problems, probes, wrong)
        if proof.edited:
            say(
                f"{count_of(len(proof.edited), 'file')} of these were edited since the move: their code of today is proved"
            )
        if proof.changed and not learned:
            say(
                "Values changed since the move: with --learned they are no fault; `revert` would write today's."
            )
    ctx.exit(1 if proof.problems or wrong else 0)


def _show_proof(
    proved: list[str],
    problems: dict[str, list[str]],
    probes: list[dict[str, Any]],
    wrong: list[dict[str, Any]],
) -> None:
    for file, found in problems.items():
        for problem in found:
            say(f"{file}: {problem}", "red")
    by_problem: dict[tuple[str, str], list[str]] = {}
    for each in wrong:
        by_problem.setdefault((each["file"], each["problem"]), []).append(f"`{each['key']}`")
    for (file, problem), keys in by_problem.items():
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        say(f"{file}: {', '.join(keys[:3])}{more}: {problem}", "red")
    if proved:
        say(
            f"{count_of(len(proved), 'file')}: bytes and syntax tree are those of the literals, with the store's values",
            "green",
        )
    if probes:
        live = sum(each["live"] for each in probes)
        other = sum(each["live"] and each["planned"] not in ("", "live") for each in probes)
        say(
            f"{count_of(len(probes), 'read')} probed: {live} follow a commit, {len(probes) - live - len(wrong)} do not, as the plan says"
        )
        if other:
            say(
                f"of these the plan calls {other} not live: the read follows, what was made of it at import does not"
            )
    if problems or wrong:
        say(count_of(sum(map(len, problems.values())) + len(wrong), "finding"), "bold red")


@migrate.command(
    short_help="Take it back: today's values as literals.",
    epilog="Example: paramstore migrate revert plan.yaml --write",
)
@PLAN
@click.option("--write", is_flag=True, help="Write the sources: all of them or none.")
@json_option
@click.pass_context
def revert(ctx: click.Context, plan: str, write: bool, as_json: bool) -> None:
    """Put the store's values of today back into the source as literals. The store keeps its files.

    Exits 1 when a file was refused because its reads cannot be found any more.
    """
    from paramstore.migrate import revert as back

    done = back(plan, write)
    if as_json:
        print_json({"written": write, "files": sorted(done.diff), "refused": done.refused, "diff": done.diff})
    else:
        for file, text in done.diff.items():
            if write:
                say(f"  reverted {file}")
            else:
                _show_diff(text)
        for file, why in done.refused.items():
            complain(f"{file} {why}.")
        if not write:
            say(
                f"{count_of(len(done.diff), 'file')} would be reverted. Nothing was written; --write does it."
            )
    ctx.exit(1 if done.refused else 0)


@migrate.command(
    short_help="Find new hardcoded tunables.", epilog="Example: paramstore migrate lint src --plan plan.yaml"
)
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=click.Path(exists=True))
@click.option(
    "--plan",
    "plan_path",
    metavar="FILE",
    help="What is known: all that this plan lists. Default: plan.yaml, if there is one.",
)
@click.option("--strict", is_flag=True, help="Also what is in tier `review`.")
@click.option("--format", "form", type=FORMATS, default="table", help="What to print.")
@json_option
@click.pass_context
def lint(
    ctx: click.Context,
    sources: tuple[str, ...],
    plan_path: str | None,
    strict: bool,
    form: str,
    as_json: bool,
) -> None:
    """List literals that look tunable and are not in the plan; exit 1 if there are any.

    `# paramstore: ignore[reason]` on its line keeps a literal where it is.
    """
    from paramstore.migrate import _plan, moved
    from paramstore.migrate._lint import lint as check
    from paramstore.migrate._report import sarif

    if plan_path is None and os.path.exists("plan.yaml"):
        plan_path = "plan.yaml"
    plan = _plan.read(plan_path) if plan_path is not None else None
    tiers = ("yes", "review") if strict else ("yes",)
    root = os.path.abspath(plan.root) if plan is not None else os.getcwd()
    gone = moved(plan_path) if plan_path is not None else set()
    found = check(list(sources), root, plan, tiers, gone)
    wrong = bool(found.sites or found.frozen or found.skipped)
    if as_json or form == "json":
        print_json({"ok": not wrong, "sites": found.sites, "frozen": found.frozen, "skipped": found.skipped})
    elif form == "sarif":
        print_json(sarif(found.sites, __version__))
    else:
        _show_lint(found, plan_path or "plan.yaml")
    ctx.exit(1 if wrong else 0)


def _show_lint(found: Lint, plan_path: str) -> None:
    for site in found.sites:
        literal = " ".join(site["literal"].split())
        say(f"{site['file']}:{site['line']}: {literal} could be `{site['key']}` ({site['tier_why']})")
    for each in found.frozen:
        say(
            f"{each['file']}:{each['line']}: `{each['name']}` is as it was at import; "
            f'params.get("{each["key"]}") follows commits'
        )
    for file, why in sorted(found.skipped.items()):
        say(f"not scanned: {file} {why}", "yellow")
    if found.frozen:
        say(f"{count_of(len(found.frozen), 'read')} that will not follow a commit")
    if found.sites:
        say(
            f"{count_of(len(found.sites), 'new hardcoded tunable')}. Move them with `paramstore migrate scan SRC --plan "
            f"{plan_path}`, or keep one with a comment on its line: # paramstore: ignore[reason]"
        )
    elif not found.frozen:
        say("no new hardcoded tunables")


@migrate.command(
    "import",
    short_help="Take in what learners wrote to JSON.",
    epilog="Example: paramstore migrate import learned.json --map 'weights.* = signal_weights.*'",
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--map",
    "maps",
    multiple=True,
    required=True,
    metavar="SPEC|@FILE",
    help="`path.in.json.* = key.*`; {symbol} names a dimension; repeatable.",
)
@click.option("--history", metavar="PATH", help="The list in the file that keeps earlier versions.")
@click.option(
    "--time",
    "time_field",
    metavar="FIELD",
    help="Where a version says its time. Default: ts, time, timestamp or updated_at.",
)
@click.option(
    "--reason-field",
    default="reason",
    show_default=True,
    metavar="FIELD",
    help="Where a version says its reason.",
)
@click.option(
    "--on-violation",
    type=click.Choice(["reject", "skip"]),
    default="reject",
    show_default=True,
    help="What to do with a version that breaks a rule.",
)
@dry_run_option
@author_option
@reason_option
@json_option
@click.pass_obj
def import_(
    store: ParamStore,
    file: str,
    maps: tuple[str, ...],
    history: str | None,
    time_field: str | None,
    reason_field: str,
    on_violation: str,
    dry_run: bool,
    author: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Bring values that learners wrote to a JSON FILE into the store, one commit per version, oldest first."""
    from paramstore.migrate._import_json import plan_import, read_file, read_specs
    from paramstore.migrate._import_run import run_import

    specs = read_specs(maps)
    plan = plan_import(
        read_file(file), file, specs, history=history, time_field=time_field, reason_field=reason_field
    )
    report = run_import(
        store,
        plan,
        author=author_of(store, author),
        reason=reason,
        dry_run=dry_run,
        on_violation=on_violation,
    )
    if as_json:
        print_json(_import_json(report))
    else:
        _show_import(report)


def _import_json(report: Any) -> dict[str, Any]:
    from dataclasses import asdict

    data = asdict(report)
    for version in data["versions"]:
        version.pop("values")  # those of a version left out may be no JSON
    return data


def _show_import(report: Any) -> None:
    for number, version in enumerate(report.versions, 1):
        when = f", {version.time}" if version.time else ""
        done = (
            "nothing changed"
            if not version.changes
            else "dry run"
            if report.dry_run
            else f"revision {version.revision}"
        )
        say(
            f"version {number} of {len(report.versions)} ({version.where}{when}): {'left out' if version.problems else done}"
        )
        for change in version.changes:
            old = "set to" if change.old is None else f"{value_text(change.old)} →"
            say(f"  {place_text(change.key, change.context)}: {old} {value_text(change.new)}")
        for problem in version.problems:
            say(f"  {problem}", "red")
    if report.unmatched_count:
        more = report.unmatched_count - len(report.unmatched)
        say(
            f"not matched by any map: {', '.join(report.unmatched)}{f' (and {more} more)' if more else ''}",
            "yellow",
        )
    say(f"revision {report.revision} stands")
