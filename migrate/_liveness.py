"""What the uses of a name say about a site: live, captured, mutated or dead."""

from __future__ import annotations

import re
import sys

from paramstore.migrate._facts import When
from paramstore.migrate._reads import Read
from paramstore.migrate._sites import ATTRIBUTE, CAPTURED, DEAD, GET, LEAF, LIVE, MUTATED, NAME, SECTION, Site


def decide(site: Site, reads: list[Read]) -> None:
    """Tell a module-level site's liveness from every use of its name, here and in other files."""
    site.uses = reads
    if (write := _written(site, reads)) is not None:
        _say(site, MUTATED, "the program writes to it", write)
    elif not reads:
        site.liveness, site.liveness_why = DEAD, "nothing reads it"
    elif captured := _captured(site, reads):
        _say(site, CAPTURED, *captured)
    else:
        count = len(reads)
        site.liveness = LIVE
        site.liveness_why = f"{count} use{'s' if count > 1 else ''}, all when functions run"


def decide_attribute(site: Site, reads: list[Read]) -> None:
    """Tell the liveness of a class attribute or dataclass field from the uses of its name."""
    site.uses = reads
    early = next((read for read in reads if read.when is When.IMPORT or read.kind == "doubt"), None)
    if (write := _written(site, reads)) is not None:
        _say(site, MUTATED, "the program writes to it", write)
    elif early is not None:
        _say(site, CAPTURED, "a value may be taken from it at import", early)
    elif site.keep == LEAF:
        site.liveness = CAPTURED
        site.liveness_why = "its dictionary holds more than plain data and is made once"
    else:
        site.liveness, site.liveness_why = LIVE, "read through the class each time"


def leaks(site: Site, reads: list[Read]) -> None:
    """A dictionary that leaves under another name may be written to there, which a section refuses: a person
    decides."""
    for read in reads:
        above = read.path != site.group_path and read.path == site.group_path[: len(read.path)]
        if read.leaks and above and site.tier == "yes":
            site.tier, site.tier_why = "review", f"{read.leaks} ({_place(site, read)})"


def _say(site: Site, liveness: str, why: str, read: Read) -> None:
    site.liveness, site.liveness_why = liveness, f"{why} ({_place(site, read)})"
    if liveness == MUTATED and site.keep != ATTRIBUTE:
        start_value_only(site)


def start_value_only(site: Site) -> None:
    """What the program writes to keeps its name and its uses, and only starts with the store's value."""
    site.keep, site.group, site.reads = GET, None, []


def _place(site: Site, read: Read) -> str:
    return f"line {read.line}" if read.file == site.file else f"{read.file}:{read.line}"


def _written(site: Site, reads: list[Read]) -> Read | None:
    """Return the first use that may change this site's value. Below a name, only what is above its leaf counts."""
    for read in reads:
        if read.kind == "store":
            return read
        leaf = site.keep == LEAF and read.path and site.group_path[: len(read.path)] != read.path
        if read.kind == "mutate" and not leaf:
            return read
    return None


def _captured(site: Site, reads: list[Read]) -> tuple[str, Read] | None:
    for read in reads:
        if read.kind == "doubt":
            return "it may be this or another that is read", read
        if read.kept_by:
            return f"`{read.kept_by}`, which reads it, is called at import and its result is kept", read
        if read.when is When.IMPORT:
            if read.kind == "copy":
                return "a copy is made at import", read
            if site.keep != SECTION or read.kind != "load":
                return "a value is taken from it at import", read
            return "it is used at import", read
        if (
            site.keep == LEAF
            and site.group_path[: len(read.path)] == read.path
            and read.path != site.group_path
        ):
            return "its dictionary is used as a whole", read
        if site.keep in (NAME, LEAF) and read.in_f_string and sys.version_info < (3, 12) and not _sure(read):
            return "it is used in an f-string where its place is not certain", read
    return None


def _sure(read: Read) -> bool:
    """Tell whether the span found inside an f-string is the name: before 3.12 places there can be wrong."""
    return bool(re.fullmatch(r"[A-Za-z_][\w.]*(\[['\"]\w+['\"]\])*", read.text))
