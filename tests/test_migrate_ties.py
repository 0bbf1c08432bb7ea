"""What files of one code base have to do with each other, and what a plan refuses."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from plan_file import MOVED, Call, Site, accept_what_is_live, load, plan_of, rewrite_plan, save, write

# -- other files ---------------------------------------------------------------------------------------

CONFIG = (
    "MIN_SCORE = 0.3\n\nclass Gate:\n    FLOOR_RATE = 0.1\n    WEIGHTS = {'a_weight': 0.4, 'b_weight': 0.6}\n"
    "\nSHARE_WEIGHTS = {'a': 0.4, 'b': 0.6}\n"
)
OWN = (
    "\ndef size(gate=Gate):\n    return MIN_SCORE + gate.FLOOR_RATE + gate.WEIGHTS['a_weight']"
    " + max(SHARE_WEIGHTS.values())\n"
)
OTHERS = {  # what another file does: the entries that are no longer live, and those left to a person
    "reads": ("from config import Gate\n\ndef f():\n    return Gate.FLOOR_RATE\n", {}, set()),
    "imports and does not read": ("from config import SHARE_WEIGHTS, MIN_SCORE\n", {}, set()),
    "sets a class attribute": (
        "from config import Gate\n\ndef f():\n    Gate.FLOOR_RATE = 0.2\n",
        {"FLOOR_RATE": "mutated"},
        set(),
    ),
    "sets it on an instance": (
        "def f(gate):\n    gate.FLOOR_RATE = 0.2\n",
        {"FLOOR_RATE": "mutated"},
        set(),
    ),
    "writes into a class dictionary": (
        "import config\n\ndef f():\n    config.Gate.WEIGHTS['a_weight'] = 0.5\n",
        {"WEIGHTS": "mutated"},
        set(),
    ),
    "updates it through an instance": (
        "def f(gate):\n    gate.WEIGHTS.update(a_weight=0.5)\n",
        {"WEIGHTS": "mutated"},
        set(),
    ),
    "takes it at import": (
        "from config import Gate\nHALF = Gate.FLOOR_RATE / 2\n",
        {"FLOOR_RATE": "captured"},
        set(),
    ),
    "hands the dictionary on": (
        "from config import Gate\n\ndef f(tune):\n    tune(Gate.WEIGHTS)\n",
        {},
        {"WEIGHTS"},
    ),
    "writes by text": (
        "import config\n\ndef f():\n    setattr(config, 'MIN_SCORE', 0.5)\n",
        {"MIN_SCORE": "mutated"},
        set(),
    ),
    "patches by text": (
        "from unittest import mock\n\ndef f():\n    with mock.patch('config.MIN_SCORE', 0.5):\n        pass\n",
        {"MIN_SCORE": "mutated"},
        set(),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_another_file_does_to_a_name_counts(name: str, call: Call, tmp_path: Path) -> None:
    text, not_live, asked = OTHERS[name]
    write(tmp_path, "config.py", CONFIG + OWN)
    write(tmp_path, "other.py", text)
    call("scan", ".")
    for site in plan_of(tmp_path):
        if site["file"] == "config.py":
            assert site["liveness"] == not_live.get(site["name"], "live"), site
            assert site["accept"] == (site["name"] not in not_live and site["name"] not in asked), site


REEXPORTS = {
    "by name": ("from .limits import MIN_SCORE\n", "from pack import MIN_SCORE"),
    "under another name": ("from .limits import MIN_SCORE as LEAST\n", "from pack import LEAST as MIN_SCORE"),
    "by star": ("from .limits import *\n", "from pack import MIN_SCORE"),
    "twice": ("from pack.middle import MIN_SCORE\n", "from pack import MIN_SCORE"),
    "as a module": ("from . import limits\n", "from pack import limits; import pack.limits as inner"),
}


@pytest.mark.parametrize("name", REEXPORTS)
def test_a_read_through_a_reexport_is_live(name: str, call: Call, tmp_path: Path) -> None:
    head, line = REEXPORTS[name]
    read = "inner.MIN_SCORE" if "inner" in line else "MIN_SCORE"
    write(tmp_path, "pack/limits.py", "MIN_SCORE = 0.3\n")
    write(tmp_path, "pack/middle.py", "from pack.limits import MIN_SCORE\n")
    write(tmp_path, "pack/__init__.py", head)
    write(tmp_path, "use.py", f"{line}\n\n\ndef f():\n    return {read}\n")
    call("scan", "pack", "use.py")
    call("apply", "plan.yaml", "--write")
    proof = call("verify", "plan.yaml", "--run")
    assert 'return params.get("limits.min_score")' in (tmp_path / "use.py").read_text(), proof.output
    done = subprocess.run(
        [sys.executable, "-c", "from use import f; from paramstore import params\nwith params.override({'limits.min_score': 0.7}): print(f())"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "0.7\n", done.stderr


DOUBTS = {  # files: which of two is meant cannot be told, or is not the one that a first look finds
    "two stars": {
        "conf/__init__.py": "from .first import *\nfrom .second import *\n",
        "conf/first.py": "RISK_LIMIT = 0.02",
        "conf/second.py": "RISK_LIMIT = 0.05",
    },
    "a star without the name": {
        "conf/__init__.py": "from .first import *\nfrom .second import *\n",
        "conf/first.py": "__all__ = ['f']\nRISK_LIMIT = 0.02",
        "conf/second.py": "RISK_LIMIT = 0.05",
    },
    "one or the other": {
        "conf/__init__.py": "try:\n    from .first import RISK_LIMIT\nexcept ImportError:\n    from .second import RISK_LIMIT\n",
        "conf/first.py": "RISK_LIMIT = 0.02",
        "conf/second.py": "RISK_LIMIT = 0.05",
    },
    "a package and a module": {"conf/__init__.py": "RISK_LIMIT = 0.02", "conf.py": "RISK_LIMIT = 0.5"},
    "a submodule under another name": {
        "conf/__init__.py": "from . import settings as inner\nRISK_LIMIT = 0.1\n",
        "conf/settings.py": "RISK_LIMIT = 0.02",
        "settings.py": "RISK_LIMIT = 0.5",
        "bot.py": "from conf import inner\n\ndef allowed():\n    return inner.RISK_LIMIT\n",
    },
    "an import inside a function": {
        "conf.py": "RISK_LIMIT = 0.02",
        "bot.py": "def allowed():\n    from conf import RISK_LIMIT\n    return RISK_LIMIT\n",
    },
    "a package above the root": {
        "src/pack/__init__.py": "",
        "src/pack/conf.py": "RISK_LIMIT = 0.02",
        "src/pack/bot.py": "from pack.conf import RISK_LIMIT\n\ndef allowed():\n    return RISK_LIMIT\n",
    },
    "a directory of that name": {
        "conf/values.txt": "",
        "src/conf.py": "RISK_LIMIT = 0.02",
        "src/bot.py": "from conf import RISK_LIMIT\n\ndef allowed():\n    return RISK_LIMIT\n",
    },
    "through a package": {
        "pkg/__init__.py": "from . import conf\n",
        "pkg/conf.py": "RISK_LIMIT = 0.02",
        "bot.py": "import pkg\n\ndef allowed():\n    return pkg.conf.RISK_LIMIT\n",
    },
}
FOLLOWS = {
    "a package and a module",
    "a submodule under another name",
    "an import inside a function",
    "a package above the root",
    "a directory of that name",
    "through a package",
}


@pytest.mark.parametrize("name", DOUBTS)
def test_an_import_is_followed_as_python_does_or_not_at_all(name: str, call: Call, tmp_path: Path) -> None:
    files = {
        "bot.py": "from conf import RISK_LIMIT\n\ndef allowed():\n    return RISK_LIMIT\n",
        **DOUBTS[name],
    }
    folder = next((file.partition("/")[0] for file in files if file.startswith("src/")), ".")
    if folder == "src":
        del files["bot.py"]
    for file, text in files.items():
        own = "\n\ndef f(x):\n    return x > RISK_LIMIT\n" if "LIMIT = " in text else ""
        write(tmp_path, file, text + own)
    place = "pack.bot" if name == "a package above the root" else "bot"
    program = (
        f"import sys; sys.path.insert(0, {folder!r})\nfrom {place} import allowed\nprint(allowed())\n"
        "from paramstore import params\n"
        "key = next(iter(params.keys('*')))\nwith params.override({key: 0.03}): print(allowed())"
    )
    call("scan", ".")
    live = {site["file"]: site["liveness"] for site in plan_of(tmp_path)}
    call("apply", "plan.yaml", "--write", status=0 if "live" in live.values() else 1)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    before = {"two stars": "0.05", "a star without the name": "0.05"}.get(name, "0.02")
    assert done.stdout.splitlines()[:1] == [before], done.stderr
    if name in FOLLOWS and len(live) == 1:
        assert done.stdout.splitlines() == [before, "0.03"], done.stderr
    elif name not in FOLLOWS:
        assert "captured" in live.values()


# -- copies --------------------------------------------------------------------------------------------

WEIGHTS = "{'momentum': 0.5, 'funding': 0.3, 'volume': 0.2}"
COPIES = {
    "engine.py": f"class Engine:\n    SIGNAL_WEIGHTS = {WEIGHTS}\n\n    def f(self):\n        return self.SIGNAL_WEIGHTS['funding']\n",
    "gate.py": f"DEFAULT_WEIGHTS = {WEIGHTS}\nMIN_SCORE = 0.3\n\ndef f(s):\n    return DEFAULT_WEIGHTS['funding'], s > MIN_SCORE\n",
    "learner.py": f"WEIGHTS = {WEIGHTS}\nMIN_SCORE = 0.4\n\ndef f(s):\n    return WEIGHTS['funding'], s > MIN_SCORE\n",
}


@pytest.fixture
def copies(call: Call, tmp_path: Path) -> Path:
    for file, text in COPIES.items():
        write(tmp_path, file, text)
    call("scan", ".")
    return tmp_path


def accept_offer(root: Path, key: str) -> None:
    data = load(root)
    [offer] = data["shared"]
    offer.update(key=key, accept=True)
    save(root, data)


def test_copies_are_offered_one_key_and_never_given_it(copies: Path) -> None:
    assert load(copies)["shared"] == [
        {
            "key": "engine.signal_weights",
            "of": ["engine.signal_weights", "gate.default_weights", "learner.weights"],
            "entries": 3,
            "accept": False,
        }
    ]
    keys = {site["key"] for site in plan_of(copies)}
    assert {
        "engine.signal_weights.funding",
        "gate.default_weights.funding",
        "learner.weights.funding",
    } <= keys


def test_an_accepted_offer_makes_copies_one_parameter(copies: Path, call: Call) -> None:
    accept_offer(copies, "signal_weights")
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml", "--run")
    for file in COPIES:
        assert 'params.section("signal_weights")' in (copies / file).read_text()
    assert "sum" in (copies / "schemas" / "signal_weights.schema.json").read_text()
    assert (
        "weights" not in (copies / "params" / "gate.yaml").read_text()
        and not (copies / "params" / "engine.yaml").exists()
    )
    call("scan", ".")  # what was moved keeps its key
    sites = json.loads(call("scan", ".", "--json").stdout)["sites"]
    assert {site["key"] for site in sites if "funding" in site["key"]} == {"signal_weights.funding"}
    call("revert", "plan.yaml", "--write")
    assert {file: (copies / file).read_text() for file in COPIES} == COPIES


def test_the_answer_to_an_offer_survives_a_scan_and_a_new_copy_asks_again(copies: Path, call: Call) -> None:
    accept_offer(copies, "signal_weights")
    call("scan", ".")
    assert [(offer["key"], offer["accept"]) for offer in load(copies)["shared"]] == [("signal_weights", True)]
    write(copies, "more.py", COPIES["learner.py"].replace("0.4", "0.6"))
    sites = json.loads(call("scan", ".", "--json").stdout)["sites"]
    offers = [(offer["key"], offer["accept"], len(offer["of"])) for offer in load(copies)["shared"]]
    assert offers == [("signal_weights", False, 4), ("signal_weights", True, 3)]
    keys = {site["file"]: site["key"] for site in sites if site["key"].endswith("funding")}
    assert keys["gate.py"] == "signal_weights.funding" and keys["more.py"] == "more.weights.funding"


def test_an_accepted_offer_can_be_taken_back(copies: Path, call: Call) -> None:
    accept_offer(copies, "signal_weights")
    call("scan", ".")
    data = load(copies)
    data["shared"][0]["accept"] = False
    save(copies, data)
    call("apply", "plan.yaml", "--write")
    assert 'params.section("gate.default_weights")' in (copies / "gate.py").read_text()


def test_offers_that_could_not_be_applied_are_not_made(call: Call, tmp_path: Path) -> None:
    one = "{'x_weight': 0.5, 'y_weight': 0.3, 'z_weight': 0.2}"
    other = "{'z_weight': 0.2, 'y_weight': 0.3, 'x_weight': 0.5}"
    reads = "\ndef f():\n    return WEIGHTS['low']['x_weight']\n"
    write(tmp_path, "a.py", f"WEIGHTS = {{'low': {one}, 'high': {one.replace('0.5', '0.6')}}}\n{reads}")
    write(tmp_path, "b.py", f"WEIGHTS = {{'low': {one}, 'high': {one.replace('0.5', '0.7')}}}\n{reads}")
    write(tmp_path, "c.py", f"WEIGHTS = {one}\n\ndef f():\n    return WEIGHTS['x_weight']\n")
    write(tmp_path, "d.py", f"WEIGHTS = {other}\n\ndef f():\n    return WEIGHTS['x_weight']\n")
    call("scan", ".")
    assert "shared" not in load(tmp_path)


def test_copies_whose_values_were_edited_apart_are_refused(copies: Path, call: Call) -> None:
    write(copies, "learner.py", COPIES["learner.py"].replace("0.2}", "0.25}"))
    call("scan", ".")
    assert len(load(copies)["shared"][0]["of"]) == 2

    def same(site: Site) -> None:
        site["key"] = site["key"].replace("learner.weights", "gate.default_weights")

    rewrite_plan(copies, same)
    assert "one parameter has one value" in call("apply", "plan.yaml", status=1).output


# -- what keeps a literal where it is --------------------------------------------------------------------

KEPT = {
    "on its line": ("MIN_SCORE = 0.3  # paramstore: ignore[fixed by law]\n", True),
    "on the first line of a dictionary": (
        "RISK_WEIGHTS = {  # paramstore: ignore[fixed]\n    'a_weight': 0.3,\n    'b_weight': 0.7,\n}\n",
        True,
    ),
    "inside a text": ("MIN_SCORE, NOTE = 0.3, '# paramstore: ignore[no]'\nMAX_SCORE = 0.7\n", False),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_ignore_comment_keeps_a_literal(name: str, call: Call, tmp_path: Path) -> None:
    text, kept = KEPT[name]
    reads = "\ndef f(s):\n    return s, MAX_SCORE\n" if "MAX_SCORE" in text else ""
    write(tmp_path, "kept.py", text + reads)
    call("scan", ".")
    assert (plan_of(tmp_path) == []) == kept


@pytest.mark.parametrize(
    "line", ["MAX_RETRIES = 5", "MIN_PASSWORD_LENGTH = 12", "MAX_ITEMS = 40", "POLL_LIMIT = 30"]
)
def test_lint_passes_over_what_bounds_no_trade(line: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "plumbing.py", f"{line}\n\ndef f(x):\n    return x > {line.partition(' ')[0]}\n")
    call("lint", ".")


def test_all_that_stands_against_a_plan_is_told_at_once(call: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"{name}.py", "import os; MIN_SCORE = 0.3\n\ndef f(s):\n    return s > MIN_SCORE\n")
    call("scan", ".")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "one.py:1" in said and "two.py:1" in said and said.count("Nothing was written") == 1
    assert not (tmp_path / "params").exists()


BLEND = (
    "import os\nBLEND_WEIGHTS = {'a': 0.6, 'b': 0.4}\n\n\ndef blend_weights(x, min_score=0.35):\n"
    "    return x * max(BLEND_WEIGHTS.values()) > min_score\n"
)


def test_nothing_is_put_below_the_section_of_a_dictionary(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "mix.py", BLEND)
    call("scan", ".")
    keys = [site["key"] for site in plan_of(tmp_path)]
    assert keys == ["mix.blend_weights.a", "mix.blend_weights.b", "mix.blend_weights_min_score"]

    def below(site: Site) -> None:
        site["key"] = site["key"].replace("_min_score", ".min.score")

    rewrite_plan(tmp_path, below)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "`mix.blend_weights.min.score` (mix.py:5)" in said and "BLEND_WEIGHTS (mix.py:2)" in said
    assert "such as `mix.blend_weights_min_score`" in said
    assert not (tmp_path / "params").exists()


DICT = "BLEND_WEIGHTS = {'a': 0.6, 'b': 0.4}\n"
OWN_PLACES = {  # each dictionary's section has a place of its own
    "in a module and its class": (
        DICT + "\nclass Gate:\n    BLEND_WEIGHTS = {'a': 0.5, 'b': 0.5}\n"
        "    def f(self):\n        return max(self.BLEND_WEIGHTS.values())\n"
        "def g():\n    return max(BLEND_WEIGHTS.values())\n",
        ["mix.blend_weights", "mix.blend_weights_2"],
    ),
    "lifted beside another": (
        "GATE = {'a': 0.6, 'b': 0.4}\nGATE_WEIGHTS = {'a': 0.6, 'b': 0.4}\nclass Gate:\n    WEIGHTS = {'a': 0.5, 'b': 0.5}\n"
        "    def f(self):\n        return max(self.WEIGHTS.values()) + max(GATE.values())\nclass Other: pass\n"
        "def g():\n    return max(GATE_WEIGHTS.values())\n",
        ["mix.gate", "mix.gate_weights", "mix.gate_weights_2"],
    ),
}


@pytest.mark.parametrize("name", OWN_PLACES)
def test_each_dictionary_has_a_section_of_its_own(name: str, call: Call, tmp_path: Path) -> None:
    text, groups = OWN_PLACES[name]
    write(tmp_path, "mix.py", "import os\n" + text)
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)
    assert sorted({site["key"].rpartition(".")[0] for site in plan_of(tmp_path)}) == groups
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml", "--run")


@pytest.mark.parametrize("first", ["gate.py", "mix.py"])
def test_nothing_gets_below_a_section_over_two_runs(first: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "gate.py", "import os\n\ndef blend(x, min_score=0.35):\n    return x > min_score\n")
    write(tmp_path, "mix.py", f"import os\n{DICT}def g():\n    return sorted(BLEND_WEIGHTS)\n")

    def below(site: Site) -> None:
        site["accept"] = site["file"] == first or any((tmp_path / "params").glob("*"))
        if site["file"] == "gate.py":
            site["key"] = "mix.blend_weights.min_score"

    call("scan", ".")
    rewrite_plan(tmp_path, below)
    call("apply", "plan.yaml", "--write")
    call("scan", ".")
    rewrite_plan(tmp_path, below)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "`mix.blend_weights.min_score`" in said and "holds its entries alone" in said
    assert "such as `mix.blend_weights_" in said


WRONG = {
    "reads": [1],
    "sha256": 5,
    "minimum": "low",
    "description": 7,
    "accept": "maybe",
    "tier": "sure",
}


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_the_wrong_kind_is_told_with_its_site(field: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "moved.py", MOVED)
    call("scan", ".")

    def spoil(site: Site) -> None:
        site[field] = copy.copy(WRONG[field])  # else the plan would have an anchor

    rewrite_plan(tmp_path, spoil)
    for command in ("apply", "scan"):
        words = [command, "plan.yaml"] if command == "apply" else [command, ".", "--plan", "plan.yaml"]
        said = call(*words, status=1).output
        assert "site 1" in said and f"`{field}`" in said


LAYOUTS = {  # what a person's editor may do to a plan without changing what it says
    "a comment in place of a field": ('  note: ""\n', '  # note: ""\n'),
    "quoted names": ("  accept: true\n", '  "accept": true\n'),
    "space before the colon": ("  accept: true\n", "  accept : true\n"),
    "other line ends": ("\n", "\r\n"),
    "trailing spaces": ("  accept: true\n", "  accept: true  \n"),
    "yes": ("  accept: true\n", "  accept: yes\n"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_plan_says_the_same_in_another_layout(name: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "moved.py", MOVED)
    call("scan", ".")
    wanted = call("apply", "plan.yaml").output
    path = tmp_path / "plan.yaml"
    text = path.read_bytes().decode()
    path.write_bytes(text.replace(*LAYOUTS[name]).encode())
    assert path.read_bytes() != text.encode()
    assert call("apply", "plan.yaml").output == wanted


@pytest.mark.parametrize("more", ["sites: []\n", 'root: "."\n'])
def test_a_field_that_stands_twice_is_refused(more: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "moved.py", MOVED)
    call("scan", ".")
    with (tmp_path / "plan.yaml").open("a") as stream:
        stream.write(more)
    assert "duplicate" in call("apply", "plan.yaml", status=1).output.lower()


def test_a_directory_and_a_comment_beyond_ascii_survive_any_reader(call: Call, tmp_path: Path) -> None:
    write(
        tmp_path, "b😀/moved.py", "MIN_SCORE = 0.3  # über \x7f 😀\n\ndef f(s):\n    return s > MIN_SCORE\n"
    )
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)  # as YAML
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml", "--run")


def test_a_ring_of_stars_is_scanned_at_once(call: Call, tmp_path: Path) -> None:
    lines = "".join(f"from .m{i} import *\n" for i in range(16))
    write(tmp_path, "pkg/__init__.py", lines)
    for i in range(16):
        write(tmp_path, f"pkg/m{i}.py", f"from . import *\nfrom .m{(i + 1) % 16} import *\n")
    write(
        tmp_path,
        "main.py",
        "from pkg import run_it\n\nMIN_SCORE = 0.3\n\ndef f(s):\n    return map(run_it, s), MIN_SCORE\n",
    )
    call("scan", ".")
    assert [site["liveness"] for site in plan_of(tmp_path)] == ["live"]
