"""One file of a commit on its way into place, and back."""

from __future__ import annotations

import os
from contextlib import suppress

from paramstore import _files
from paramstore._model import Change
from paramstore._state import Document
from paramstore._yaml import YamlText


class Plan:
    """One file of a commit: what is there, and what shall be."""

    def __init__(
        self, file: str, target: str, document: Document, changes: list[Change], base: bytes, text: YamlText
    ) -> None:
        self.file = file
        self.target = target
        self.document = document
        self.changes = changes
        self.base = base
        self.text = text
        self.after = _files.digest(text.raw)
        self.temporary = ""
        self.touched = False  # the exchange was begun: the new bytes may be in place

    def placed(self) -> _files.Identity | None:
        """Return the identity of the file now in place, or ``None`` (look again) if it is not ours."""
        with suppress(OSError):
            content = _files.read(self.target)
            if content is not None and content.raw == self.text.raw:
                return content.identity
        return None

    def discard(self) -> None:
        """Remove the temporary file when it holds our bytes or the old ones; anything else is someone's
        save that came in between, and is kept as ``.conflict``."""
        with suppress(OSError):
            if _files.holds(self.temporary, self.base, self.text.raw):
                os.unlink(self.temporary)
            else:
                _files.set_aside(self.temporary, ".conflict")


def put_back(plans: list[Plan]) -> None:
    """Give each file its old bytes back where an exchange was begun and the new ones are in place.

    Asks the files, not the program's own notes: an error or a Ctrl-C may come right after an exchange.
    """
    for plan in reversed(plans):
        if plan.touched and os.path.exists(plan.target):  # else deleted by someone: not ours to put back
            _files.complete_swap(plan.temporary)
            if _files.holds(plan.target, plan.text.raw):
                _files.swap_in(plan.temporary, plan.target, plan.text.raw)
