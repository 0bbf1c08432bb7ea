"""What lets type checkers and editors know a store: ``stubs``, and schemas written as pydantic models: ``schema``."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from paramstore import ParamStore
from paramstore.cli._output import count_of, print_json, say
from paramstore.cli._shared import json_option

if TYPE_CHECKING:
    from pydantic import BaseModel

STUB = "__init__.pyi"
OURS = "# Written by `paramstore stubs`"
check_option = click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1, and say what differs, if it would."
)


def _schemas(store: ParamStore, namespace: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the schemas as they stand, values or not. Raises ``SchemaError`` for a wrong one."""
    from paramstore import _files
    from paramstore._schema import load_schema
    from paramstore._schema_form import read_schema

    root = store.root
    assert root is not None  # the command line opens files only
    found = {}
    for name in sorted(_files.names(os.path.join(root, "schemas"), ".schema.json")):
        space = name.removesuffix(".schema.json")
        if namespace is None or space == namespace:
            raw, file = _files.read_whole(os.path.join(root, "schemas", name)).raw, f"schemas/{name}"
            load_schema(space, raw, file, "")
            found[space] = read_schema(raw, file)
    if not found:
        what = "no schema" if namespace is None else f"no schemas/{namespace}.schema.json"
        raise click.UsageError(f"there is {what} in {root}")
    return found


# --- stubs ------------------------------------------------------------------------------------------


@click.command(
    short_help="Write type stubs, so that mypy and pyright know every key.", epilog="Example: paramstore stubs --check"
)  # fmt: skip
@click.option(
    "--output", metavar="DIR", help="The folder for stubs. Default: typings, beside params/ and schemas/."
)
@check_option
@json_option
@click.pass_obj
@click.pass_context
def stubs(ctx: click.Context, store: ParamStore, output: str | None, only_check: bool, as_json: bool) -> None:
    """Write DIR/paramstore/__init__.pyi from the schemas: types of values, keys, contexts and writes for
    `from paramstore import params`.

    pyright and Pylance look into typings/ by themselves. mypy needs one line: mypy_path =
    "$MYPY_CONFIG_FILE_DIR/typings". Commit the file, and have --check run where the tests do.
    """
    from paramstore import _generated
    from paramstore._stubs import stub_text

    schemas = _schemas(store)
    root = store.root or ""
    folder = os.path.abspath(os.path.expanduser(output or os.path.join(root, "typings")))
    path = os.path.join(folder, "paramstore", STUB)
    text, old = stub_text(schemas), _generated.stands(path)
    foreign = old is not None and not old.startswith(OURS)
    if foreign and not only_check:
        raise click.UsageError(
            f"{_near(path)} was not written by this command: move it away, or give another --output"
        )
    changed = old != text
    if changed and not only_check:
        _generated.write(path, text)
    lines = _generated.difference(old, text) if changed else []
    if as_json:
        print_json({"file": path, "changed": changed, "missing": old is None, "difference": lines})
    elif only_check:
        _show_drift(path, old, lines, "paramstore stubs" + (f" --output {output}" if output else ""))
    else:
        say(f"{'wrote' if changed else 'up to date:'} {_near(path)}", "green")
        _show_settings(folder, root)
    ctx.exit(1 if changed and only_check else 0)


def _near(path: str) -> str:
    """Return a path as a person in this folder would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _show_drift(path: str, old: str | None, lines: list[str], command: str) -> None:
    from paramstore._generated import MOST_LINES

    if not lines:
        say(f"up to date: {_near(path)}", "green")
        return
    if old is None:
        say(f"{_near(path)} is missing", "red")
    else:
        for line in lines[:MOST_LINES]:
            say(line, "red" if line.startswith("-") else "green")
        if len(lines) > MOST_LINES:
            say(f"… and {count_of(len(lines) - MOST_LINES, 'line')} more")
        say(f"{_near(path)} is not up to date; {count_of(len(lines), 'line')} of difference", "red")
    say(f"Next: `{command}`")


def _show_settings(folder: str, root: str) -> None:
    name = os.path.relpath(folder, root)
    if name.startswith(".."):
        name = folder
    where = name if os.path.isabs(name) else f"$MYPY_CONFIG_FILE_DIR/{name}"
    say(f'mypy needs one line in pyproject.toml, below [tool.mypy]: mypy_path = "{where}"')
    if name == "typings":
        say("pyright and Pylance find it by themselves.")
    else:
        say(f'pyright needs one line in pyproject.toml, below [tool.pyright]: stubPath = "{name}"')


# --- schemas as models --------------------------------------------------------------------------------


@click.group(
    short_help="Write schemas from pydantic models, and models from schemas.",
    epilog="Example: paramstore schema to win_rate",
)
def schema() -> None:
    """Schemas as pydantic models: `from` writes a schema from a model, `to` writes models from schemas."""


@schema.command(
    "from", short_help="Write a schema from a model.", epilog="Example: paramstore schema from mybot.params:ConvictionGate"
)  # fmt: skip
@click.argument("model", metavar="MODULE:CLASS")
@click.option("--namespace", metavar="NAME", help="Default: the name of the class, such as conviction_gate.")
@check_option
@json_option
@click.pass_obj
@click.pass_context
def from_model(
    ctx: click.Context, store: ParamStore, model: str, namespace: str | None, only_check: bool, as_json: bool
) -> None:
    """Write schemas/NAME.schema.json from a pydantic model.

    This IMPORTS MODULE, that is, runs your code; no other command does. It is looked for in this folder, in the root
    of the store, and where Python looks. A schema that says the same already keeps its layout.
    """
    from paramstore import _files, _generated
    from paramstore._schema import load_schema
    from paramstore._schema_form import read_schema
    from paramstore._schema_model import schema_bytes, schema_of

    root = store.root
    assert root is not None  # the command line opens files only
    found = _imported(model, root)
    space = namespace or _snake(found.__name__)
    file = f"schemas/{space}.schema.json"
    text = schema_bytes(schema_of(found))
    load_schema(space, text.encode(), file, _files.digest(text.encode()))
    path = os.path.join(root, file)
    old = _generated.stands(path)
    fresh = read_schema(text.encode(), file)
    changed = old is None or not _says(old, file, fresh)
    lines = _generated.difference(_layout(old, file), text) if changed else []
    if changed and not only_check:
        _generated.write(path, text)
    if as_json:
        print_json({"file": path, "changed": changed, "missing": old is None, "difference": lines})
    elif only_check:
        _show_drift(path, old, lines, f"paramstore schema from {model}")
    else:
        say(f"{'wrote' if changed else 'up to date:'} {file}", "green")
        if changed:
            say("Next: `paramstore check --fix` writes the values that are new.")
    ctx.exit(1 if changed and only_check else 0)


def _says(old: str, file: str, fresh: Mapping[str, Any]) -> bool:
    from paramstore._schema_form import read_schema
    from paramstore._schema_model import same_schema
    from paramstore.errors import SchemaError

    try:
        return same_schema(read_schema(old.encode(), file), fresh)
    except SchemaError:
        return False  # broken, so it says nothing; writing it anew repairs it


def _layout(old: str | None, file: str) -> str | None:
    """Return what stands in the layout of what would be written, so that only real differences show."""
    from paramstore._schema_form import read_schema
    from paramstore._schema_model import schema_bytes
    from paramstore.errors import SchemaError

    try:
        return old and schema_bytes(read_schema(old.encode(), file))
    except SchemaError:
        return old


def _imported(words: str, root: str) -> type[BaseModel]:
    from paramstore._schema_model import is_model

    module, sign, name = words.partition(":")
    if not (module and sign and name):
        raise click.UsageError(f"{words}: write it as module:class, such as mybot.params:ConvictionGate")
    for folder in (root, os.getcwd()):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        found = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it is a user's module, which may raise anything, or exit
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise click.UsageError(f"{module} cannot be imported: {reason}") from None
    model: Any = found
    for part in name.split("."):
        model = getattr(model, part, None)
    if not is_model(model):
        raise click.UsageError(f"{module} has no pydantic model `{name}`")
    return model  # type: ignore[no-any-return]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@schema.command(
    "to", short_help="Write models from schemas.", epilog="Example: paramstore schema to win_rate --output mybot/params.py"
)  # fmt: skip
@click.argument("namespace", required=False, metavar="[NAMESPACE]")
@click.option("--output", metavar="FILE", help="The module to write. Default: print it.")
@check_option
@json_option
@click.pass_obj
@click.pass_context
def to_model(
    ctx: click.Context, store: ParamStore, namespace: str | None, output: str | None, only_check: bool, as_json: bool
) -> None:  # fmt: skip
    """Write pydantic models from the schema of NAMESPACE, or of all; `schema from` gives the same schemas back.

    Layout and comments of a module that says the same do not count, and it keeps them.
    """
    from paramstore import _generated
    from paramstore._schema_source import same_source, source_of

    if only_check and output is None:
        raise click.UsageError("--check needs --output, the module to compare with")
    text = source_of(_schemas(store, namespace))
    if output is None:
        if as_json:
            print_json({"file": None, "source": text})
        else:
            _print_source(text)
        return
    path = os.path.abspath(os.path.expanduser(output))
    old = _generated.stands(path)
    changed = old is None or not same_source(old, text)
    lines = _generated.difference(old, text) if changed else []
    if changed and not only_check:
        _generated.write(path, text)
    if as_json:
        print_json({"file": path, "changed": changed, "missing": old is None, "difference": lines})
    elif only_check:
        words = [word for word in ("paramstore schema to", namespace, f"--output {output}") if word]
        _show_drift(path, old, lines, " ".join(words))
    else:
        say(f"{'wrote' if changed else 'up to date:'} {_near(path)}", "green")
    ctx.exit(1 if changed and only_check else 0)


def _print_source(text: str) -> None:
    for line in text.splitlines():
        say(line)
