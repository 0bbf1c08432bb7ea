"""The same doors with inputs that coverage leads to, by atheris: ``scripts/proof guided [-max_total_time=SECONDS] [-runs=N]``.

Needs ``pip install "atheris>=3"``, which has no wheels for every Python, so no lock asks for it. The first byte of an input
chooses the door. What is found is written to ``crash-...`` in the working directory; give that file as the argument to run
it again. Options are libFuzzer's.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit('atheris is missing: .venv-dev/bin/python -m pip install "atheris>=3"')

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

with atheris.instrument_imports(include=["paramstore"]):
    import targets
from paramstore.errors import ParamstoreError  # noqa: E402 - instrumented first

NAMES = list(targets.TARGETS)


def one(data: bytes) -> None:
    """Run one input; whatever it raises but our own errors is a find."""
    if data:
        with suppress(ParamstoreError):
            targets.TARGETS[NAMES[data[0] % len(NAMES)]](data[1:])


def main() -> None:
    """Start from the good files, and go on until the options say enough."""
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        place, corpus = Path(folder) / "place", Path(folder) / "corpus"
        place.mkdir()
        corpus.mkdir()
        targets.work_in(place)
        for number, name in enumerate(NAMES):
            for variant, seed in enumerate(targets.SEEDS[name]()):
                (corpus / f"{name}-{variant}").write_bytes(bytes([number]) + seed)
        options = ["-timeout=10", "-max_len=20000", "-rss_limit_mb=3000", *sys.argv[1:]]
        again = [word for word in sys.argv[1:] if not word.startswith("-")]
        atheris.Setup([sys.argv[0], *options, *([] if again else [str(corpus)])], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
