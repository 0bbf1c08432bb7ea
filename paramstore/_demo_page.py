"""The last part of the demonstration: the page of what came of it, with a learner that goes on."""

from __future__ import annotations

import os
import subprocess
import sys

from paramstore import _demo_month
from paramstore._demo_bot import Stage

PORT, ADDRESS = 8417, "http://127.0.0.1:8417"
STOPPED = (0, 130)  # how a page ends that somebody stopped
END_S = 10.0

LEARN_ON = """\
import itertools, time
from paramstore import ParamstoreError, params

time.sleep(2)
for step in itertools.cycle((0.01, 0.01, -0.01, -0.01)):
    evidence = {"samples": 640, "metric": "ev_bps", "before": 1.2, "after": 1.3}
    try:
        with params.transaction(author="tier_learner", reason="the last seconds", evidence=evidence) as tx:
            tx["bot.size.win_rate_min"] += step
    except ParamstoreError:
        pass  # frozen: the journal says so
    time.sleep(15)
"""


def name_it(stage: Stage) -> None:
    """Say where the page would be."""
    stage.step("The page of all this: values, who moved them and why, what came of it")
    stage.say(f"`scripts/demo --page` (or `paramstore demo --page`) serves it: {ADDRESS}")


def serve(stage: Stage, port: int) -> None:
    """Serve the page until it is stopped."""
    stage.step("The page of all this, with a learner that goes on while you look")
    stage.ends.pop_all().close()  # whoever ran so far
    outcomes = os.path.join(stage.root, _demo_month.OUTCOMES)
    words = ("serve", "--allow-writes", "--port", str(port), "--outcomes", outcomes, "--metric", "pnl_bps")
    with stage.spawn(LEARN_ON, stderr=subprocess.DEVNULL):
        page = subprocess.Popen(
            [sys.executable, "-m", "paramstore", *words], env=stage.environ, cwd=stage.root
        )
        try:
            page.wait()
        except KeyboardInterrupt:  # Ctrl-C, which the page heard as well
            page.wait(END_S)
        finally:
            page.terminate()
            page.wait(END_S)
    stage.expect(
        page.returncode in STOPPED, f"the page was served: exit status {page.returncode}", quiet=True
    )
