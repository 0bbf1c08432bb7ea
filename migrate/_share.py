"""Copies: dictionaries with the same entries, names with the same value. One key for them is offered, never given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

DICTIONARIES = ("module dict", "class dict", "local dict", "default_factory")
NAMES = ("module scalar", "module table", "class attribute", "class table", "dataclass field")
FEWEST = 3  # entries that a dictionary must have to be taken for a copy of another

Entry = dict[str, Any]


def offers(sites: Sequence[Entry]) -> list[Entry]:
    """Return an offer for each set of copies: ``key``, the one that all would have; ``of``, the keys (or the keys
    that dictionaries stand below) that it would take the place of; ``entries``, how many numbers each copy
    has; and ``accept``, which is for a person to say."""
    alike: dict[Any, list[str]] = defaultdict(list)
    for (_, prefix), members in _dictionaries(sites).items():
        if len(members) >= FEWEST:
            alike[tuple(sorted(members.items()))].append(prefix)
    for site in sites:
        if site["shape"] in NAMES:
            alike[site["name"], site["type"], site["literal"]].append(site["key"])
    return sorted(
        (
            {"key": keys[0], "of": keys, "entries": len(what) if isinstance(what[0], tuple) else 1, "accept": False}
            for what, found in alike.items()
            if len(keys := sorted(set(found))) > 1
        ),
        key=lambda offer: (-offer["entries"], offer["key"]),
    )  # fmt: skip


def _dictionaries(sites: Sequence[Entry]) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    """Return what each dictionary holds, by file and the key that it stands below."""
    found: dict[tuple[str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
    for site in sites:
        prefix, _, name = site["key"].rpartition(".")
        if site["shape"] in DICTIONARIES and "." in prefix:
            found[site["file"], prefix][name] = site["type"], site["literal"]
    return found


def kept(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Return the new offers with what a person decided on the same ones before; a set of copies that has
    grown is offered anew, under the key that was chosen."""
    known = {copy: offer for offer in old for copy in offer["of"]}
    for offer in new:
        before = next((known[copy] for copy in offer["of"] if copy in known), None)
        if before is not None:
            offer["key"], offer["accept"] = before["key"], before["accept"] and before["of"] == offer["of"]
    return list(new)


def share(sites: Sequence[Entry], accepted: Sequence[Mapping[str, Any]]) -> None:
    """Give the sites of accepted offers their one key, unless a person has given them another."""
    keys = {copy: offer["key"] for offer in accepted if offer["accept"] for copy in offer["of"]}
    for site in sites if keys else ():
        if site["key"].partition(".")[2] != site.get("proposed"):
            continue
        for copy in (site["key"], site["key"].rpartition(".")[0]):
            if copy in keys:
                site["key"] = keys[copy] + site["key"][len(copy) :]
                break
