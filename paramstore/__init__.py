"""Typed, bounded, versioned parameters: live reads, locked writes, small diffs.

>>> from paramstore import params
>>> params.get("conviction_gate.min_trades")
30
"""

from __future__ import annotations

from paramstore.errors import ParamstoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from paramstore._default import params
    from paramstore._evidence import Evidence
    from paramstore._store import ParamStore

__all__ = ["Evidence", "ParamStore", "ParamstoreError", "__version__", "params"]
__version__ = "0.1.0"

# Where a name is when it is first asked for: pytest imports this package for its plugin in suites that read no
# parameter, and Evidence is a record of dataclasses, which a first read cannot afford.
_PLACES = {"params": "_default", "ParamStore": "_store", "Evidence": "_evidence"}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{place}", fromlist=[name]), name)
    globals()[name] = value
    return value
