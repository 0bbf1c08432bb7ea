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
            alike[tuple(members)].append(prefix)
    for site in sites:
        if site["shape"] in NAMES:
            alike[site["name"], site["type"], site["literal"]].append(own_key(site))
    return sorted(
        (
            {"key": keys[0], "of": keys, "entries": len(what) if isinstance(what[0], tuple) else 1, "accept": False}
            for what, found in alike.items()
            if len(keys := sorted(set(found))) > 1
        ),
        key=lambda offer: (-offer["entries"], offer["key"]),
    )  # fmt: skip


def _dictionaries(sites: Sequence[Entry]) -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    """Return what each dictionary holds, in its order, by file and the key that it stands below. Of nested ones only
    the whole could move, so they are left out."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    prefixes: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for site in sites:
        prefix, _, name = own_key(site).rpartition(".")
        if site["shape"] in DICTIONARIES and "." in prefix:
            found[site["file"], prefix].append((name, site["type"], site["literal"]))
            if site["name"]:
                prefixes[site["file"], site["scope"], site["name"]].add(prefix)
    nested = {(file, prefix) for (file, _, _), many in prefixes.items() if len(many) > 1 for prefix in many}
    return {place: entries for place, entries in found.items() if place not in nested}


def own_key(site: Mapping[str, Any]) -> str:
    """Return a site's key without what it shares."""
    key: str = site.get("own", site["key"])
    return key


def kept(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Return the new offers with what a person decided on the same ones before. A set of copies that has grown is
    offered anew under the key that was chosen, and what was accepted stays accepted."""
    for offer in new:
        same = next((each for each in old if each["of"] == offer["of"]), None)
        near = same or next((each for each in old if set(each["of"]) & set(offer["of"])), None)
        if near is not None:
            offer["key"], offer["accept"] = near["key"], same is not None and same["accept"]
    taken = [set(offer["of"]) for offer in new if offer["accept"]]
    return [
        *new,
        *(each for each in old if each["accept"] and not any(set(each["of"]) <= of for of in taken)),
    ]


def share(sites: Sequence[Entry], offers: Sequence[Mapping[str, Any]]) -> None:
    """Give the sites of accepted offers their one key, unless a person has given them another; the key of
    their own stays beside it, as ``own``, and is what the plan holds."""
    keys = {copy: offer["key"] for offer in offers if offer["accept"] for copy in offer["of"]}
    for site in sites:
        site["key"] = key = own_key(site)
        site.pop("own", None)
        if key.partition(".")[2] != site.get("proposed"):
            continue
        for copy in (key, key.rpartition(".")[0]):
            if copy in keys:
                site["own"], site["key"] = key, keys[copy] + key[len(copy) :]
                break
