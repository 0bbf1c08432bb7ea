"""What the uses of a name say about a site: live, captured, mutated or dead."""

from __future__ import annotations

import re
import sys
from typing import Any

from paramstore.migrate._facts import When
from paramstore.migrate._reads import Read
from paramstore.migrate._sites import CAPTURED, DEAD, LEAF, LIVE, MUTATED, NAME, SECTION, Site


def decide(site: Site, reads: list[Read]) -> None:
    """Tell a module-level site's liveness from every use of its name, here and in other files."""
    where = _where(site, reads)
    if any(read.kind == "mutate" and _touches(site, read) for read in reads) or any(
        read.kind == "store" for read in reads
    ):
        first = next(read for read in reads if read.kind in ("store", "mutate"))
        site.liveness, site.liveness_why = MUTATED, f"the program writes to it ({where(first)})"
    elif not reads:
        site.liveness, site.liveness_why = DEAD, "nothing reads it"
    elif captured := _captured(site, reads):
        site.liveness, site.liveness_why = CAPTURED, f"{captured[0]} ({where(captured[1])})"
    else:
        count = len(reads)
        site.liveness = LIVE
        site.liveness_why = f"{count} use{'s' if count > 1 else ''}, all when functions run"


def decide_attribute(site: Site, reads: list[Read]) -> None:
    where = _where(site, reads)
    for read in reads:
        if read.kind == "store" or (read.kind == "mutate" and _touches(site, read)):
            site.liveness, site.liveness_why = MUTATED, f"the program writes to it ({where(read)})"
            return
    for read in reads:
        if read.when is When.IMPORT:
            site.liveness = CAPTURED
            site.liveness_why = f"a value is derived from it when the class is made ({where(read)})"
            return
    if site.keep == LEAF:
        site.liveness, site.liveness_why = (
            CAPTURED,
            "its dictionary holds more than plain data and is made once",
        )
        return
    site.liveness, site.liveness_why = LIVE, "read through the class each time"


def _where(site: Site, reads: list[Read]) -> Any:
    return lambda read: f"line {read.line}" if read.file == site.file else f"{read.file}:{read.line}"


def _touches(site: Site, read: Read) -> bool:
    """Tell whether a write below a name may change this leaf of it."""
    if site.keep == LEAF:
        return not read.path or site.group_path[: len(read.path)] == read.path
    return True


def _captured(site: Site, reads: list[Read]) -> tuple[str, Read] | None:
    for read in reads:
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
