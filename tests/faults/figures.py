"""Figures that the proofs measured: shown at the end of the run, and kept where a variable says."""

from __future__ import annotations

import json
import os

FIGURES: dict[str, object] = {}


def figure(name: str, value: object) -> None:
    """Note a figure under ``name``; ``FAULT_FIGURES`` names a JSON file that gets all of them."""
    FIGURES[name] = round(value, 4) if isinstance(value, float) else value
    path = os.environ.get("FAULT_FIGURES")
    if path:
        with open(path, "w") as file:
            json.dump(FIGURES, file, indent=1)
