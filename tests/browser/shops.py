"""A store with its page: ``paramstore serve`` in a process of its own, over a store in files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from local_store import number, schema, write_store

from paramstore import ParamStore, _demo_month, _init

LIMITS = {"minimum": 0.0, "maximum": 10.0}
DIMENSIONS = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}


def environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    return {**found, "PARAMSTORE_AUTHOR": "ann"}


class Shop:
    """The store at ``root`` and the server of its page, which can be stopped and started at the same place."""

    def __init__(self, root: Path, *words: str) -> None:
        self.root = root
        self.words = words
        self.store = ParamStore(str(root), environ={})
        self.port = 0
        self.address = ""
        self.token_file = Path()
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Shop:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.store.reset()

    def start(self) -> None:
        line = [
            sys.executable,
            "-m",
            "paramstore",
            "--root",
            str(self.root),
            "serve",
            "--port",
            str(self.port),
            "--json",
        ]
        with (self.root / "served.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [*line, *self.words], env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, (self.root / "served.err").read_text()
        ready = json.loads(said)
        self.address = ready["address"]
        self.port = int(self.address.rpartition(":")[2])
        self.token_file = Path(ready["token_file"] or "")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is None:
            return
        with self.process as process:
            process.send_signal(number)
            try:
                process.wait(10)
            finally:
                process.kill()
        self.process = None

    @property
    def token(self) -> str:
        return self.token_file.read_text(encoding="utf-8").strip()

    # -- what happens meanwhile ----------------------------------------------------------------------

    def run(self, *words: str) -> Any:
        """Run a command on the store in a process of its own; return what it says with ``--json``."""
        line = [sys.executable, "-m", "paramstore", "--root", str(self.root), *words, "--json"]
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def learn(
        self, values: dict[str, Any], author: str = "learner", reason: str = "lesson", **more: Any
    ) -> None:
        """Commit in this process, which is another one than the server's."""
        with self.store.transaction(
            author=author, reason=reason, evidence=more.pop("evidence", None), **more
        ) as tx:
            for key, value in values.items():
                tx[key] = value


# --- stores -----------------------------------------------------------------------------------------


def month_of_learning(root: Path) -> None:
    """Write the shipped store with a month in its journal, which has entries of every kind."""
    _init.write(str(root), _init.shipped())
    _demo_month.live(str(root), time.time())


def learned(default: float, **limits: Any) -> dict[str, Any]:
    said = {"description": limits.pop("description", "")} if "description" in limits else {}
    return number(default, **said, **{"x-param": {"learnable": True, "unit": "bps", **limits}})


def small_store(root: Path) -> None:
    """Write a store with values of every type, rules to break, two dimensions, and an override."""
    risk = {
        "size": learned(1.0, max_step=0.5),
        "stop": learned(2.0, description="Where a position is given up."),
        "count": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
        "mode": {"type": "string", "enum": ["calm", "bold"], "default": "calm"},
        "name": {"type": "string", "default": "first"},
        "on": {"type": "boolean", "default": True},
        "steps": {"type": "array", "items": {"type": "number"}, "default": [1.0, 2.0]},
    }
    weights = {"a": learned(0.5), "b": learned(0.5)}
    values = {
        "size": 1.0,
        "stop": 2.0,
        "count": 3,
        "mode": "calm",
        "name": "first",
        "on": True,
        "steps": [1.0, 2.0],
    }
    write_store(
        root,
        {"risk": schema(risk, DIMENSIONS), "weights": schema(weights, None, [{"sum": ["*"], "equals": 1}])},
        {
            "risk": {
                "schema": 1, "values": values,
                "overrides": [{"at": {"symbol": "BTC"}, "values": {"size": 0.5}}],
            },
            "weights": {"schema": 1, "values": {"a": 0.5, "b": 0.5}},
        },
    )  # fmt: skip
