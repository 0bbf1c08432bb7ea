"""A process that reads and writes a store in turns with the one that started it, however it was started."""

from __future__ import annotations

from multiprocessing.connection import Connection

from paramstore import ParamStore

KEY = "alpha.count"


def converse(root: str, parent: Connection, store: ParamStore | None = None) -> None:
    """Tell what is read, commit, tell it, and so on, until the parent has nothing more to say."""
    store = store or ParamStore(root, environ={})
    parent.send(store.get(KEY))
    while parent.recv():
        seen = store.get(KEY)
        with store.transaction(author="child", timeout_s=20) as tx:
            tx[KEY] += 1
        parent.send([seen, store.get(KEY)])
