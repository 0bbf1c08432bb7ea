"""Reads and edits ``plan.yaml`` as a person does, with any YAML tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result
from ruamel.yaml import YAML

Call = Callable[..., Result]
Site = dict[str, Any]


# A file with most shapes, for what is done to code after it was moved.
MOVED = """\
import os
from dataclasses import dataclass

MIN_SCORE = 0.30
EXIT_WEIGHTS = {'atr_weight': 0.6, 'time_weight': 0.4}

@dataclass
class Gate:
    cap_rate : float = 0.75

    def size(self, score, boost=1.15, floor=0.1):
        '''How much.'''
        if score < MIN_SCORE: return floor * EXIT_WEIGHTS['atr_weight']
        return min(self.cap_rate, score * boost * 0.85)

def stop(score, stop_rate=0.02):
    return max(stop_rate * score, 0.015)
"""


def load(root: Path) -> dict[str, Any]:
    data: dict[str, Any] = YAML(typ="safe", pure=True).load((root / "plan.yaml").read_text())
    return data


def save(root: Path, data: dict[str, Any]) -> None:
    with (root / "plan.yaml").open("w") as stream:
        YAML(typ="safe", pure=True).dump(data, stream)


def plan_of(root: Path) -> list[Site]:
    sites: list[Site] = load(root)["sites"]
    return sites


def rewrite_plan(root: Path, change: Callable[[Site], None]) -> None:
    data = load(root)
    for site in data["sites"]:
        change(site)
    save(root, data)


def accept_what_is_live(site: Site) -> None:
    site["accept"] = site["tier"] != "no" and site["liveness"] == "live"


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
