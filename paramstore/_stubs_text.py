"""The parts of a stub that are the same for every store; ``_stubs`` fills in the rest."""

from __future__ import annotations

HEAD = '''\
# Written by `paramstore stubs` from schemas/: do not edit. `paramstore stubs --check` tells whether it is up to date.
# What is narrowed here on purpose is wider in the package: a store knows its own keys.
# mypy: disable-error-code="override, overload-overlap, misc"
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# pyright: reportOverlappingOverload=false, reportPrivateUsage=false
# ruff: noqa
# isort: skip_file
# fmt: off

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, Never, TypeAlias, TypedDict, TypeVar, final, overload, type_check_only

from paramstore._bound import Bound
from paramstore._evidence import Evidence as Evidence
from paramstore._model import Explanation, Spec
from paramstore._reads import Snapshot
from paramstore._rules import OnViolation
from paramstore._store import ParamStore as ParamStore
from paramstore._transaction import Transaction
from paramstore.errors import ParamstoreError as ParamstoreError

__all__ = ["Evidence", "ParamStore", "ParamstoreError", "__version__", "params"]

__version__: str

_T = TypeVar("_T")
_V = TypeVar("_V")

@final
@type_check_only
class _Only(str, Generic[_T]):
    """Nothing has this type. It keeps the name of an alias in the messages of type checkers."""

@type_check_only
class _FrozenList(list[_V]):
    """A list that refuses writes; ``copy()`` gives a plain one."""

    def __setitem__(self, key: Never, value: Never, /) -> None: ...
    def __delitem__(self, key: Never, /) -> None: ...
    def append(self, object: Never, /) -> None: ...
    def extend(self, iterable: Never, /) -> None: ...
    def insert(self, index: Never, object: Never, /) -> None: ...
    def remove(self, value: Never, /) -> None: ...

@type_check_only
class _FrozenDict(dict[str, _V]):
    """A dictionary that refuses writes; ``copy()`` gives a plain one."""

    @overload
    def get(self, key: str, /) -> _V: ...
    @overload
    def get(self, key: str, default: _T, /) -> _V | _T: ...
    def __setitem__(self, key: Never, value: Never, /) -> None: ...
    def __delitem__(self, key: Never, /) -> None: ...
    def pop(self, key: Never, default: Never = ..., /) -> None: ...
    def setdefault(self, key: Never, default: Never = ..., /) -> None: ...
    def update(self, m: Never, /) -> None: ...
'''

METHODS = """\
@type_check_only
class _Groups:
{section}
{keys}

@type_check_only
class _Reads(_Groups):
{get}
{live}
    def at(self{context}) -> _Bound: ...
    def snapshot(self) -> _Snapshot: ...
    def spec(self, key: _AnyKey) -> Spec: ...
    def explain(self, key: _AnyKey{context}) -> Explanation: ...

@type_check_only
class _Bound(_Reads, Bound): ...

@type_check_only
class _Snapshot(_Groups, Snapshot):
{bare_get}
{item}
    def at(self{context}) -> _Snapshot: ...

@type_check_only
class _Transaction(Transaction):
{tx_get}
{item}
{tx_writes}
{tx_propose}

@type_check_only
class _Params(_Reads, ParamStore):
    def as_of(self, when: Any) -> _Snapshot: ...
    def override(self, values: _Values) -> AbstractContextManager[None]: ...
    def transaction(
        self,
        *,
        author: str,
        reason: str = "",
        evidence: Evidence | Mapping[str, Any] | None = None,
        expected_revision: int | None = None,
        dry_run: bool = False,
        force: bool = False,
        timeout_s: float | None = None,
    ) -> AbstractContextManager[_Transaction]: ...

params: _Params
"""
