"""The arithmetic of one changed value, and how it is written: difference, share of the old value, place within bounds.

Pure, and light to import: git asks for it once for every file of a log.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any

from paramstore._exact import exact, one_line
from paramstore._values import ABSENT, same, thaw

_EXACTLY = Context(prec=800)  # the smallest and the largest 64-bit float are 632 digits apart
_CLOSELY = Context(prec=20)
_LONGEST_FIGURE = 18  # characters; what is longer is written with an exponent


def is_number(value: Any) -> bool:
    """Tell whether ``value`` is a finite number; a boolean is none."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def difference(old: Any, new: Any) -> Decimal | None:
    """Return ``new`` minus ``old`` as people read the two numbers, so that 0.3 - 0.1 is 0.2; ``None`` for no numbers."""
    if not (is_number(old) and is_number(new)):
        return None
    return _EXACTLY.subtract(exact(new), exact(old))


def relative(old: Any, new: Any) -> float | None:
    """Return the difference as a fraction of the size of ``old``; ``None`` for no numbers, or where ``old`` is 0."""
    change = difference(old, new)
    if change is None or old == 0:
        return None
    return float(_CLOSELY.divide(change, abs(exact(old))))


def position(value: Any, low: Any, high: Any) -> float | None:
    """Return where ``value`` stands between two bounds, 0 at ``low`` and 1 at ``high``; ``None`` without both."""
    if not (is_number(value) and is_number(low) and is_number(high) and low < high):
        return None
    span = _EXACTLY.subtract(exact(high), exact(low))
    return float(_CLOSELY.divide(_EXACTLY.subtract(exact(value), exact(low)), span))


def bounds(leaf: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the least and the largest value that a parameter's schema allows, exclusive ones as well."""
    low = leaf.get("minimum", leaf.get("exclusiveMinimum"))
    high = leaf.get("maximum", leaf.get("exclusiveMaximum"))
    return low, high


def unit(leaf: Mapping[str, Any]) -> str:
    """Return the unit that a parameter's schema names, if any."""
    extra = leaf.get("x-param")
    found = extra.get("unit", "") if isinstance(extra, dict) else ""
    return found if isinstance(found, str) else ""


# --- as text --------------------------------------------------------------------------------------


def value_text(value: Any) -> str:
    """Write a value on one line: numbers exact, strings bare, structures as JSON."""
    if value is ABSENT:
        return "none"
    if isinstance(value, str):
        return one_line(value)
    return repr(value) if isinstance(value, float) else one_line(json.dumps(thaw(value), ensure_ascii=False))


def place_text(key: str, at: Mapping[str, Any]) -> str:
    """Write a key, with its context if there is one: ``risk.size @symbol=BTC``."""
    context = ", ".join(f"{name}={value_text(value)}" for name, value in at.items())
    return one_line(f"{key} @{context}" if context else key)


def change_text(old: Any, new: Any) -> str:
    """Write the difference and its share of the old value: ``+0.01 (+6.25 %)``; nothing for no numbers."""
    change, share = difference(old, new), relative(old, new)
    if change is None:
        return ""
    return _signed(change) + (f" ({_percent(share)})" if share is not None else "")


def _signed(change: Decimal) -> str:
    plain = (
        f"{_EXACTLY.plus(change).normalize(_EXACTLY):+f}" if abs(change.adjusted()) < _LONGEST_FIGURE else ""
    )
    return plain if 0 < len(plain) <= _LONGEST_FIGURE else f"{float(change):+.6g}"


def _percent(share: float) -> str:
    size = abs(share) * 100
    return f"{share * 100:+,.0f} %" if 1000 <= size < 1e9 else f"{share * 100:+.3g} %"


def position_text(old: float | None, new: float | None) -> str:
    """Write two places within bounds: ``31 % → 33 %``, or the one that there is."""
    places = [place for place in (old, new) if place is not None]
    if len(places) == 2 and f"{places[0]:.0%}" == f"{places[1]:.0%}" and not same(*places):
        return " → ".join(f"{place * 100:.3g} %" for place in places)
    return " → ".join(f"{place * 100:.0f} %" for place in places)


def bounds_text(leaf: Mapping[str, Any]) -> str:
    """Write the bounds: ``0.01…0.5``, or the one that there is."""
    low, high = bounds(leaf)
    if low is not None and high is not None:
        return f"{value_text(low)}…{value_text(high)}"
    if low is not None:
        return f"≥ {value_text(low)}"
    return f"≤ {value_text(high)}" if high is not None else ""


def stands_text(value: Any, leaf: Mapping[str, Any]) -> str:
    """Write where a value stands: ``35 % of 0.01…0.5 fraction of score``."""
    return spot_text(position_text(None, position(value, *bounds(leaf))), leaf)


def move_text(
    old: float | None, new: float | None, before: Mapping[str, Any], after: Mapping[str, Any]
) -> str:
    """Write how a value moved within its bounds; both, where they are not the same ones."""
    if None in (old, new) or bounds(before) == bounds(after):
        return spot_text(position_text(old, new), after or before)
    return f"{spot_text(position_text(old, None), {**before, 'x-param': None})} → {spot_text(position_text(None, new), after)}"


def spot_text(place: str, leaf: Mapping[str, Any]) -> str:
    """Write a place (from ``position_text``) with the bounds and the unit that it is in."""
    limits = bounds_text(leaf)
    within = f"{place} of {limits}" if place and limits else limits
    return " ".join(part for part in (within, one_line(unit(leaf))) if part)
