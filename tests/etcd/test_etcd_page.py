"""What the page knows of a mirror of a cluster: every entry of other machines, once and in order, also when the mirror is made anew."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress

import pytest
from etcd_servers import Shop

from paramstore import ParamStore
from paramstore._as_json import entry_json
from paramstore.errors import ParamstoreError
from paramstore.testing import SCHEMAS, VALUES

pytest.importorskip("fastapi")

PATIENCE_S = 20.0


def test_entries_of_another_machine_are_told_once_and_in_order(shop: Shop) -> None:
    from paramstore.web._index import Index
    from paramstore.web._news import News

    shop.fill(SCHEMAS, VALUES)
    writer = ParamStore(backend=shop.backend("one"), environ={})
    far = shop.backend("two")
    reader = ParamStore(backend=far, environ={})

    def commit(value: int) -> None:
        with suppress(ParamstoreError), writer.transaction(author="learner", reason="a test") as tx:
            tx["gate.trades"] = value

    async def test() -> None:
        commit(40)
        reader.get("gate.trades")
        index = Index(reader)
        news = News(reader, index)
        news.start(asyncio.get_running_loop())
        heard: list[str] = []
        async with aclosing(news.follow()) as follower:
            await asyncio.wait_for(anext(follower), PATIENCE_S)
            for value in range(41, 49):
                commit(value if value != 44 else -(10**9))  # which is refused
            writer.freeze("gate.*", author="person", reason="stop")
            entries = [entry_json(entry) for entry in writer.history(refused=True)]
            told = entries[-9:]
            while len(heard) < len(told):
                made = await asyncio.wait_for(anext(follower), PATIENCE_S)
                if made.name == "entry":
                    assert json.loads(made.data.decode().partition("data: ")[2]) == told[len(heard)]
                    heard.append(str(made.id))
        assert heard == [entry["id"] for entry in told]
        assert index.history(refused=True).entries == entries
        assert index.history("gate.trades").entries == [entry_json(e) for e in writer.history("gate.trades")]
        with far.mirror.locked():
            far.mirror.clear()  # as after damage: what was there is taken over once more
        far.follower.catch_up(5.0)
        assert index.history(refused=True).entries == entries
        news.stop()

    asyncio.run(test())
    reader.reset()
    writer.reset()
