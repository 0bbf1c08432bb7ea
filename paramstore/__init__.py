"""Typed, bounded, versioned parameters: live reads, locked writes, small diffs.

>>> from paramstore import params
>>> params.get("conviction_gate.min_trades")
30
"""

from __future__ import annotations

from paramstore._default import params
from paramstore._store import ParamStore
from paramstore.errors import ParamstoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from paramstore._evidence import Evidence

__all__ = ["Evidence", "ParamStore", "ParamstoreError", "__version__", "params"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Evidence":  # a record of dataclasses, which a first read cannot afford
        from paramstore._evidence import Evidence

        return Evidence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
