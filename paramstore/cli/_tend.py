"""What keeps a store in order: ``check``, ``init``, ``demo``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from paramstore import ParamStore
from paramstore._looked import looked
from paramstore._options import BACKEND, find_root
from paramstore.cli._output import count_of, patience, print_json, say
from paramstore.cli._shared import json_option, needs_web, root_in_files
from paramstore.errors import StoreNotFoundError

if TYPE_CHECKING:
    from paramstore._check import Audit, Finding
    from paramstore._init import Written

STYLES = {"finding": "red", "warning": "yellow", "information": "dim"}


@click.command(short_help="Audit the whole store.", epilog="Example: paramstore check --fix")
@click.option(
    "--fix", "do_fix", is_flag=True, help="Write missing files and keys from the schemas' defaults."
)
@json_option
@click.pass_obj
@click.pass_context
def check(ctx: click.Context, store: ParamStore, do_fix: bool, as_json: bool) -> None:
    """Audit the whole store: schemas, values, constraints, journal, leftovers, environment.

    Exits 1 when there is a finding. Warnings and information, such as edits by hand that the next commit
    will record, leave it at 0. With PARAMSTORE_BACKEND this machine's mirror of the cluster is audited; that it is not
    in step is a finding.
    """
    if do_fix:
        root_in_files(store, "--fix")
    said = _of_the_mirror(store)
    audit = _audited(store)
    if do_fix:
        from paramstore._check import fix

        said += fix(audit.backend, audit, store.options.timeout_s)
        audit = _audited(store)
    said += audit.findings
    wrong = sum(finding.level == "finding" for finding in said)
    if as_json:
        print_json({"ok": not wrong, "findings": [_finding_json(finding) for finding in said]})
    else:
        _show_findings(said, wrong)
    ctx.exit(1 if wrong else 0)


def _of_the_mirror(store: ParamStore) -> list[Finding]:
    """Return what is to be said of a store whose files are a mirror."""
    from paramstore._check import Finding

    mirror = looked(store)
    if mirror is None:
        return []
    return [Finding(mirror.url, mirror.text, level="finding" if mirror.problem else "information")]


def _audited(store: ParamStore) -> Audit:
    from paramstore._backends.local import LocalBackend
    from paramstore._check import Audit

    assert store.root is not None  # a mirror has one too
    audit = Audit(LocalBackend(store.root, store.options), os.environ)
    steps = audit.steps()
    with patience("checking", len(steps)) as advance:
        for step in steps:
            step()
            advance()
    return audit


def _finding_json(finding: Finding) -> dict[str, object]:
    return {
        "level": finding.level,
        "file": finding.file,
        "line": finding.line,
        "place": finding.place or None,
        "problem": finding.problem,
    }


def _show_findings(said: list[Finding], wrong: int) -> None:
    for finding in said:
        mark = "" if finding.level == "finding" else f"{finding.level}: "
        say(f"{mark}{finding}", STYLES[finding.level])
    if wrong:
        say(count_of(wrong, "finding"), "bold red")
    else:
        say("everything is in order", "bold green")


@click.command(
    short_help="Write a store, or the frame of a namespace.",
    epilog="Example: paramstore init, or paramstore init --namespace exit_rules",
)
@click.argument("directory", required=False, metavar="[DIR]")
@click.option("--empty", is_flag=True, help="Only the two directories.")
@click.option("--namespace", metavar="NAME", help="The frame of one new namespace, to be edited.")
@json_option
@click.pass_context
def init(
    ctx: click.Context, directory: str | None, empty: bool, namespace: str | None, as_json: bool
) -> None:
    """Write a store into DIR (or --root, or here): params/, schemas/, and a line for .gitignore.

    Without options it holds the shipped parameters. Nothing is ever overwritten: a file that exists is
    kept, and if its content differs the exit status is 1. With --namespace the store around the working
    directory is used, if there is one; with PARAMSTORE_BACKEND it must be named.
    """
    from paramstore import _init

    if empty and namespace is not None:
        raise click.UsageError("--empty and --namespace exclude each other")
    files = _init.frame(namespace) if namespace is not None else {} if empty else _init.shipped()
    named = directory or ctx.find_root().params["root"]
    if namespace is not None and not named:
        _refuse_backend(namespace)
    root = named or _around(namespace)
    written = _init.write(os.path.abspath(os.path.expanduser(root)), files)
    if as_json:
        lists = {name: list(getattr(written, name)) for name in ("written", "kept", "differing")}
        print_json({"root": written.root, **lists})
    else:
        _show_written(written, namespace)
    ctx.exit(1 if written.differing else 0)


def _refuse_backend(namespace: str) -> None:
    """Refuse to begin a namespace in files that nobody named while the values live elsewhere."""
    backend = os.environ.get(BACKEND)
    if backend:
        raise click.UsageError(
            f"the values live in {backend}, and a namespace is begun in files: name where (`paramstore init DIR --namespace "
            f"{namespace}`), edit and check it there, then put it into the cluster (docs/etcd.md, A new namespace)"
        )


def _around(namespace: str | None) -> str:
    if namespace is not None:
        try:
            return find_root(os.environ)
        except StoreNotFoundError:
            pass  # then it begins a store of its own here
    return os.getcwd()


def _show_written(written: Written, namespace: str | None) -> None:
    say(f"store: {written.root}")
    for name in written.written:
        say(f"  wrote {name}", "green")
    for name in written.kept:
        differs = name in written.differing
        say(f"  kept {name}{', which differs' if differs else ''}", "yellow" if differs else "dim")
    if written.differing:
        say("To have a kept file written, move it away and run this again.")
    elif namespace is not None:
        say(f"Next: edit schemas/{namespace}.schema.json, then run `paramstore check --fix`.")
    else:
        say("Next: `paramstore list`; commit params/ and schemas/ to git.")


@click.command(short_help="Show it all in a temporary directory.", epilog="Example: paramstore demo --page")
@click.option("--page", is_flag=True, help="Then serve the page of what came of it, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Where, with --page. Default: 8417.")
@click.pass_context
def demo(ctx: click.Context, page: bool, port: int | None) -> None:
    """Show it all in a temporary directory, in seconds: a live strategy, two learners, a refusal, an edit."""
    from paramstore._demo_page import PORT
    from paramstore.demo import run

    if port is not None and not page:
        raise click.UsageError("--port says where the page is served: give --page")
    served = (PORT if port is None else port) if page else None
    if served is not None:
        with needs_web("demo --page"):
            from paramstore.web import _server
        _server.listen("127.0.0.1", served).close()  # or it would be told after all the rest
    ctx.exit(0 if run(say, served) else 1)
