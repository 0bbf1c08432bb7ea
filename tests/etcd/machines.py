"""A machine of its own: a process that follows a store in etcd and says, when asked, what it sees. Run as a program by ``Machine``."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

ANSWER_S = 15.0
MOST_BYTES = 4 << 30  # a forged number must not take the memory of the machine


class Machine:
    """The process. ``see`` returns what ``_seen`` does; ``{"broken": …}`` where an error is none of ours, or none comes at all."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], env={**os.environ, **environ}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def see(self) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], ANSWER_S)[0]:
            return {"broken": f"no answer in {ANSWER_S} s"}
        found: dict[str, Any] = json.loads(process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.kill()
        with suppress(OSError):
            self._process.communicate()


def _seen() -> dict[str, Any]:
    from paramstore import params
    from paramstore.errors import ParamstoreError

    try:
        problems = [problem.message for problem in params.health.problems]
        return {
            "values": {key: params.get(key) for key in params.keys()},  # noqa: SIM118 - it is no mapping
            "freezes": [freeze.pattern for freeze in params.freezes()],
            "history": [entry.id for entry in params.history(refused=True)],
            "problems": problems,
        }
    except ParamstoreError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - that there is none is what is tested
        return {"broken": repr(error)}


if __name__ == "__main__":
    import logging
    import resource

    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(_seen()) + "\n")
        sys.stdout.flush()
