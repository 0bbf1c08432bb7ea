#!/usr/bin/env python3
# -*- coding: utf-8 -*-
#
# Copyright (c) 2026 the tidepool authors
#
# Licensed under the MIT licence; it comes with no warranty whatsoever.
# SPDX-License-Identifier: MIT
#
"""How sure are we? Scores, agreement and win rates become stake multipliers.

A score of 0.50 or more is ULTRA and doubles the stake. With less than 0.10 we
hardly trade at all. See the table in the wiki (page 12) for the back-tests.
"""
from __future__ import annotations

# (score, multiplier, label): the first score that is reached wins, so keep them descending
CONVICTION_LADDER = [
    (0.50, 2.0, "ULTRA"),
    (0.38, 1.5, "HIGH"),
    (0.26, 1.2, "MEDIUM"),
    (0.12, 1.0, "BASE"),
    (0.0, 0.6, "LOW"),
]

# By the share of signals that are on our side.
AGREEMENT_TIERS = {
    "unanimous": {"threshold": 0.90, "multiplier": 1.25},
    "broad": {"threshold": 0.75, "multiplier": 1.10},
    "split": {"threshold": 0.55, "multiplier": 0.95},
    "thin": {
        "threshold": 0.40,
        "multiplier": 0.70,  # often the last signals of a dying move
    },
}
LONELY = 0.35  # fewer than thin


def conviction(score: float) -> tuple[float, str]:
    """Return multiplier and label for a score of either sign."""
    for threshold, multiplier, label in CONVICTION_LADDER:
        if abs(score) >= threshold:
            return multiplier, label
    return CONVICTION_LADDER[-1][1], "LOW"


def agreement_multiplier(share: float) -> float:
    for tier in AGREEMENT_TIERS.values():
        if share >= tier["threshold"]:
            return tier["multiplier"]
    return LONELY


def is_broad(share: float) -> bool:
    return share >= AGREEMENT_TIERS["broad"]["threshold"]


def win_rate_multiplier(win_rate: float) -> float:
    """Lean in from 55 % upward, lean out below 45 %."""
    if win_rate >= 0.55:
        return 1.3
    elif win_rate >= 0.45:
        return 1.1
    elif win_rate >= 0.35:
        return 0.8
    elif win_rate > 0.25:
        return 0.5
    return 0.4


def stake_multiplier(score: float, share: float, win_rate: float) -> tuple[float, str]:
    """All three together, kept between 0.4 and 2.5 times the stake."""
    multiplier, label = conviction(score)
    multiplier *= agreement_multiplier(share) * win_rate_multiplier(win_rate)
    return round(max(0.4, min(2.5, multiplier)), 4), label


if __name__ == "__main__":
    for demo in (0.05, 0.2, 0.31, 0.45, 0.6):
        print(f"score {demo:.2f}: {stake_multiplier(demo, 0.8, 0.5)}")
