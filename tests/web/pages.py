"""The page's application for tests: called in this process for the many, and as a real server in a process of its own for the few."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from local_store import number, schema, write_store

from paramstore import ParamStore
from paramstore.web._admission import Rate, Settings
from paramstore.web._app import make_app

TOKEN = "t" * 43
ORIGIN = "http://127.0.0.1:8417"
WRITING = {"Origin": ORIGIN, "Authorization": f"Bearer {TOKEN}"}
ENDLESS = Rate(1e9, 1e9)
DIMENSIONS = {
    "symbol": {"type": "string"},
    "regime": {"enum": ["trend", "chop"]},
    "level": {"type": "integer"},
}
PERSON = {"author": "ann", "reason": "reviewed"}


def learned(default: float, **limits: Any) -> dict[str, Any]:
    return number(default, **{"x-param": {"learnable": True, "unit": "bps", **limits}})


def make_store(root: Path) -> ParamStore:
    """Return a store with parameters of all kinds, contexts, and a short past of every kind of entry."""
    risk = {
        "size": learned(1.0, max_step=0.5),
        "stop": learned(2.0),
        "count": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
        "mode": {"type": "string", "default": "calm"},
        "on": {"type": "boolean", "default": True},
        "steps": {"type": "array", "items": {"type": "number"}, "default": [1.0, 2.0]},
    }
    weights = {"a": learned(0.5), "b": learned(0.5)}
    write_store(
        root,
        {"risk": schema(risk, DIMENSIONS), "weights": schema(weights, None, [{"sum": ["*"], "equals": 1}])},
        {
            "risk": {
                "schema": 1,
                "values": {
                    "size": 1.0,
                    "stop": 2.0,
                    "count": 3,
                    "mode": "calm",
                    "on": True,
                    "steps": [1.0, 2.0],
                },
                "overrides": [{"at": {"symbol": "BTC"}, "values": {"size": 0.5}}],
            },
            "weights": {"schema": 1, "values": {"a": 0.5, "b": 0.5}},
        },
    )
    return ParamStore(root, environ={})


def live_a_little(store: ParamStore) -> None:
    """Write entries of many kinds: commits of two learners, one refused, a freeze that ended, an approval, a rollback."""
    for value in (1.1, 1.25, 1.2):
        with store.transaction(author="sizer", reason="won", evidence={"samples": 80}) as tx:
            tx["risk.size"] = value
    with store.transaction(author="stopper", reason="stops were hit") as tx:
        tx.set("risk.stop", 2.5, symbol="ETH")
    try:
        with store.transaction(author="sizer", reason="greedy") as tx:
            tx["risk.size"] = 9.0
    except ValueError:
        pass
    with store.transaction(author="weigher") as tx:
        tx.propose("weights", {"a": 0.7}, on_violation="project")
    store.freeze("weights", author="ann", reason="looks odd")
    store.unfreeze("weights.*", author="ann", reason="was right")
    store.approve("risk", author="ann", reason="reviewed")
    store.rollback(2, author="ann", reason="too large", keys="risk.size")
    store.freeze("risk.count", author="ann", reason="pinned", until="3d")


def settings(**more: Any) -> Settings:
    words: dict[str, Any] = {"hosts": frozenset({"127.0.0.1:8417"}), "writes": True, "token": TOKEN}
    words |= {"reads": ENDLESS, "changes": ENDLESS, "wrong_tokens": ENDLESS}
    return Settings(**(words | more))


class Page:
    """The application of ``store``, called without a socket, from any thread."""

    def __init__(self, store: ParamStore, **more: Any) -> None:
        self.app = make_app(store, settings(**more))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._client: httpx.AsyncClient

    def __enter__(self) -> Page:
        self._thread.start()
        self._life: Any = self._run(_life(self.app))
        transport = httpx.ASGITransport(self.app)
        self._client = httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._client.aclose())
        self._run(_end(self._life))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ask(self, method: str, path: str, headers: Mapping[str, str] = {}, **words: Any) -> httpx.Response:
        path = path if path.startswith("/") else f"/api/v1/{path}"
        found: httpx.Response = self._run(self._client.request(method, path, headers=dict(headers), **words))
        return found

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """Return the data of an answer that must have this status."""
        answer = self.ask("GET", path, params=params or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        headers = {**WRITING, "Content-Type": "application/json"}
        answer = self.ask("POST", path, headers, content=json.dumps(body))  # in ASCII, whatever is in it
        assert answer.status_code == status, answer.text
        return answer.json()

    def act(self, path: str, body: Mapping[str, Any]) -> Any:
        """Do what a person does: look at the preview, and confirm it."""
        seen = self.post(path, {**body, "dry_run": True})["seen"]
        return self.post(path, {**body, "seen": seen})


async def _life(app: Any) -> Any:
    """Start the application; return what ends it."""
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    started, stopped = asyncio.Event(), asyncio.Event()

    async def send(message: Any) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete"), message
        (started if "startup" in message["type"] else stopped).set()

    running = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}}, incoming.get, send))
    await incoming.put({"type": "lifespan.startup"})
    await started.wait()
    return incoming, stopped, running


async def _end(life: Any) -> None:
    incoming, stopped, running = life
    await incoming.put({"type": "lifespan.shutdown"})
    await stopped.wait()
    await running


def environ() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    return {**found, "PARAMSTORE_AUTHOR": "ann"}


def command(root: Path, *words: str) -> Any:
    """Return what a command says with ``--json``, in a process of its own."""
    line = [sys.executable, "-m", "paramstore", "--root", str(root), *words, "--json"]
    done = subprocess.run(line, env=environ(), capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@contextmanager
def server(root: Path, *words: str) -> Iterator[tuple[str, str]]:
    """Run ``paramstore serve`` in a process of its own; yield its address and token."""
    line = [sys.executable, "-m", "paramstore", "--root", str(root), "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        [*line, *words], env=environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            token = Path(said["token_file"]).read_text().strip() if said["token_file"] else ""
            yield said["address"], token
        finally:
            process.terminate()
            process.wait(10)
