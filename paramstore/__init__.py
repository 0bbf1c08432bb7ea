"""Typed, bounded, versioned parameters: live reads, locked writes, small diffs.

>>> from paramstore import params
>>> params.get("conviction_gate.min_trades")
30
"""

from __future__ import annotations

from paramstore._default import params
from paramstore._store import ParamStore
from paramstore.errors import ParamstoreError

__all__ = ["ParamStore", "ParamstoreError", "__version__", "params"]
__version__ = "0.1.0"
