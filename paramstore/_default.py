"""The only global state: the default store, opened on first use."""

from __future__ import annotations

from paramstore._store import ParamStore

params = ParamStore()
