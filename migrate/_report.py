"""A plan for programs: JSON, and SARIF for code-scanning tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"yes": "warning", "review": "note", "no": "none"}


def sarif(sites: Sequence[dict[str, Any]], version: str) -> dict[str, Any]:
    """Return sites as one SARIF 2.1.0 run."""
    rules = sorted({site["shape"] for site in sites})
    return {
        "$schema": SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "paramstore migrate",
                        "version": version,
                        "rules": [
                            {"id": _rule(shape), "shortDescription": {"text": f"Hardcoded {shape}"}}
                            for shape in rules
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(site) for site in sites],
            }
        ],
    }


def _rule(shape: str) -> str:
    return "hardcoded-" + shape.replace(" ", "-").replace("_", "-")


def _result(site: dict[str, Any]) -> dict[str, Any]:
    text = (
        f"{site['literal']} could be the parameter `{site['key']}` ({site['tier_why']}; {site['liveness']})."
    )
    region = {"startLine": site["line"], "startColumn": site["column"] + 1}
    place = {"artifactLocation": {"uri": site["file"]}, "region": region}
    return {
        "ruleId": _rule(site["shape"]),
        "level": LEVELS[site["tier"]],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
