"""What is wrong with the files just now: since when, and whether it was said."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from paramstore._model import Problem
    from paramstore._state import State


class Complaints:
    """The files that are refused while an older state is served. ``unsaid`` tells that some were not logged yet."""

    __slots__ = ("_known", "unsaid")

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}  # by file: since when, and what
        self.unsaid: list[tuple[str, int, bool]] = []

    def note(self, state: State) -> None:
        """Remember each new problem, since when it stands, and that it is to be logged once."""
        for file, message in state.problems.items():
            if self._known.get(file, ("", ""))[1] != message:
                from paramstore._clock import SYSTEM, utc_text

                self._known[file] = utc_text(SYSTEM.now()), message
                self.unsaid.append((message, state.revision, "://" not in file))
        for file in [file for file in self._known if file not in state.problems]:
            del self._known[file]

    def say(self) -> None:
        """Log what is new. Not under a lock: a log formatter may well read parameters."""
        import logging

        while self.unsaid:
            message, revision, is_file = self.unsaid.pop(0)
            text = "%s\nRevision %d is still being served" + ("; correct the file." if is_file else ".")
            logging.getLogger("paramstore").error(text, message, revision)

    def problems(self) -> tuple[Problem, ...]:
        from paramstore._model import Problem

        return tuple(Problem(file, message, since) for file, (since, message) in self._known.items())
