"""The order of the house: imports point down, one doorkeeper for each dependency, no module too long."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import paramstore
from paramstore import _bound, _model, _reads, _section, _store, _subscription, _transaction, errors, testing

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "paramstore"

# Every module stands on one floor, and imports from its own floor or from below. A new module joins here.
FLOORS: dict[str, tuple[str, ...]] = {
    "0 ground": ("errors", "_clock", "_model", "_options", "_state", "_values"),
    "1 rules": (
        "_constraints", "_doctor", "_doctor_learners", "_doctor_params", "_doctor_report", "_doctor_rhythm", "_environment",
        "_as_json", "_compare", "_etcd_place", "_etcd_roles", "_etcd_versions", "_evidence", "_exact", "_figures", "_git_message", "_guards", "_history", "_intervals", "_join", "_layers", "_ledger", "_merge", "_outline", "_project", "_project_active",
        "_project_chain", "_project_grid", "_project_push", "_proposal", "_records", "_rollback", "_rules", "_schema", "_schema_form", "_schema_safe",
        "_scorecard", "_stubs", "_stubs_text", "_stubs_types",
    ),
    "2 disk": ("_attempts", "_etcd_client", "_etcd_messages", "_files", "_gate", "_git", "_git_branch", "_git_head", "_git_lost", "_git_read", "_git_show", "_git_state", "_merge_rules", "_merge_text", "_generation", "_journal", "_lock", "_generated", "_memory", "_scan", "_sidecar", "_trust", "_yaml", "_yaml_edit"),
    "3 backends": (
        "_backends", "_backends._commit", "_backends._entries", "_backends._etcd_commit", "_backends._follow", "_backends._followed", "_backends._follower", "_backends._loader", "_backends._mirror", "_backends._plan", "_backends._recovery", "_backends._remote",
        "_backends._splice", "_backends._texts", "_backends._unfinished", "_backends.base", "_backends.etcd",
        "_backends.local", "_backends.memory",
    ),
    "4 store": (
        "_agent", "_async", "_bisect", "_blame", "_bound", "_check", "_complaints", "_copy", "_examined", "_explain", "_freezing", "_git_agreed", "_git_cluster", "_git_commit", "_git_install", "_git_mirror", "_git_move", "_git_proposed", "_git_steps", "_git_sync", "_git_spare", "_init", "_live", "_listing", "_live_fields", "_looked", "_opening", "_override", "_past", "_plot",
        "_read_counts", "_reads", "_section", "_schema_model", "_schema_source", "_settings", "_sides", "_sources", "_store", "_subscription", "_transaction", "_watch",
        "_writes",
    ),
    "5 doors": (
        "", "__main__", "authoring", "_contract", "_contract_past", "_default", "_git_driver", "cli", "cli._agent", "cli._git", "cli._bisect", "cli._blame", "cli._chart", "cli._diff", "cli._diff_markdown", "cli._doctor", "cli._etcd", "cli._hold", "cli._migrate", "cli._output",
        "cli._past", "cli._scorecard", "cli._report", "cli._serve", "cli._shared", "cli._show", "cli._tend", "cli._types", "cli._write", "_demo_bot", "_demo_month", "_demo_page", "demo", "optuna", "testing",
        "_isolated", "_pytest_strict", "pytest_plugin",
        "client", "web._actions", "web._answers", "web._app", "web._description", "web._events", "web._problems", "web._questions", "web._reads", "web._routes", "web._threads",
        "web", "web._admission", "web._background", "web._guard", "web._index", "web._lines", "web._metrics", "web._news", "web._page", "web._report", "web._server", "web._token",
    ),
}  # fmt: skip

# Each dependency is imported by these modules only (and by what is below a package named here).
DOORKEEPERS: dict[str, tuple[str, ...]] = {
    "click": ("cli",),
    "fastapi": ("web._app", "web._description", "web._routes"),
    "filelock": ("_lock",),
    "google": ("_etcd_messages",),
    "grpc": ("_etcd_client",),
    "jsonschema": ("_schema", "_schema_form"),
    "matplotlib": ("_plot",),
    "optuna": ("optuna",),
    "prometheus_client": ("web._metrics",),
    "pydantic": ("_schema_model", "_schema_source", "_settings", "web._answers", "web._questions"),
    "pydantic_core": ("_schema_model",),
    "pydantic_settings": ("_settings",),
    "pytest": ("_pytest_strict", "pytest_plugin"),
    "rich": ("cli",),
    "ruamel": ("_yaml", "_yaml_edit"),
    "starlette": ("web._app", "web._events", "web._problems", "web._routes"),
    "uvicorn": ("web._server",),
}
MAY_PRINT = ("cli", "demo", "__main__", "_git_driver")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 500, 60
# Longer than that, for now. Taken off this list once they are shorter; nothing is added.
LONG_FILES: set[str] = set()


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "_shipped" not in path.parts}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs: functions' insides as well, but not what stands below ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from run_time_nodes(child)


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything that a module imports, lazily too."""
    for node in run_time_nodes(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: write the full name"
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                known = below.removeprefix("paramstore.") in MODULES
                yield node.lineno, below if known else str(node.module)


def own_module(imported: str) -> str | None:
    top, _, rest = imported.partition(".")
    return rest if top == "paramstore" else None


def stands_in(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == door or name.startswith(f"{door}.") for door in allowed)


def test_every_module_has_a_floor_and_every_entry_a_module() -> None:
    listed = [name for names in FLOORS.values() for name in names]
    assert sorted(listed) == sorted(MODULES)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    floor = {module: number for number, names in enumerate(FLOORS.values()) for module in names}
    for line, imported in imports(name):
        target = own_module(imported)
        if target is not None and target.partition(".")[0] == "migrate":
            assert stands_in(name, ("cli._migrate",)), f"{name}:{line} imports the annex"
        elif target is not None and target != name:
            assert floor[target] <= floor[name], (
                f"{name or 'paramstore'}:{line} imports {imported} from above"
            )


@pytest.mark.parametrize("name", MODULES)
def test_each_dependency_has_one_doorkeeper(name: str) -> None:
    for line, imported in imports(name):
        allowed = DOORKEEPERS.get(imported.partition(".")[0])
        assert allowed is None or stands_in(name, allowed), f"{name}:{line} imports {imported}"


def test_nothing_else_is_depended_on() -> None:
    known = {*sys.stdlib_module_names, *DOORKEEPERS, "paramstore"}
    for name in MODULES:
        for line, imported in imports(name):
            assert imported.partition(".")[0] in known, f"{name}:{line} imports {imported}"


ANNEX = sorted((REPOSITORY / "migrate").rglob("*.py"))


@pytest.mark.parametrize("path", ANNEX, ids=lambda path: path.stem)
def test_the_annex_uses_the_public_api(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = str(node.module).split(".")
            assert module[0] in (*sys.stdlib_module_names, "paramstore", "ruamel"), f"{path}:{node.lineno}"
            assert module[0] != "ruamel" or path.stem == "_plan", f"{path}:{node.lineno}"
            if module[0] == "paramstore" and module[:2] != ["paramstore", "migrate"]:
                words = [*module, *(alias.name for alias in node.names)]
                assert not any(word.startswith("_") for word in words), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", ANNEX, ids=lambda path: path.stem)
def test_the_annex_stays_short_and_prints_nothing(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {length} lines"
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "print")


@pytest.mark.parametrize("name", MODULES)
def test_only_the_command_line_prints(name: str) -> None:
    if stands_in(name, MAY_PRINT):
        return
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), f"{name}:{node.lineno}"


def test_no_module_hides_the_params_object() -> None:
    assert "params" not in MODULES
    assert type(paramstore.params).__name__ == "ParamStore"


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_functions_stay_short(name: str) -> None:
    lines = len(MODULES[name].read_text().splitlines())
    if name in LONG_FILES:
        assert lines > MOST_LINES, f"{name} is short enough now: take it off the list"
    else:
        assert lines <= MOST_LINES, f"{name} has {lines} lines"
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{name}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    if MODULES[name].stat().st_size:
        assert ast.get_docstring(tree(name)), f"{name or 'paramstore'} has no docstring"


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield f"{module.__name__}.{name}", value


# What users hold in their hands, beside the public modules' names.
CLASSES: tuple[type, ...] = (
    _store.ParamStore, _bound.Bound, _subscription.Subscription, _reads.Snapshot, _section.Section,
    _transaction.Transaction, _model.Spec, _model.Change, _model.Entry, _model.CommitResult, _model.Health,
    _model.Problem, _model.Explanation, _model.LayerValue, _model.FileChange,
)  # fmt: skip
# How the parts of the store talk to each other: public to one another, not to users.
INWARD = {"attach", "current", "lay", "lift", "newest", "refetch", "in_context", "tell", "request", "finish"}


def test_every_public_name_has_a_docstring() -> None:
    for module in (paramstore, errors, testing):
        for name, value in _public(module):
            assert inspect.getdoc(value), name
    for cls in CLASSES:
        assert cls.__doc__, cls.__name__
        for name, value in vars(cls).items():
            described = inspect.isfunction(value) or isinstance(value, property)
            if described and not name.startswith("_") and name not in {*INWARD, *dir(dict)}:
                assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name} has no docstring"


def test_tests_that_run_alone_are_where_they_are_looked_for() -> None:
    marked = [path for path in (REPOSITORY / "tests").rglob("*.py") if "mark." + "alone" in path.read_text()]
    assert marked and all("faults" in path.parts for path in marked)
