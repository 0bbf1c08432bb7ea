"""Sections: a real dict to everyone, never stale, never half of a commit."""

from __future__ import annotations

import copy
import gc
import json
import operator
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections import ChainMap, Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import pytest
from shared_source import SharedSource

from paramstore import _section
from paramstore._section import Section, frozen_section
from paramstore._values import FrozenDict, FrozenList, Values, freeze
from paramstore.errors import MalformedKeyError, ReadOnlyError, UnknownParamError


def make(x: float) -> dict[str, Any]:
    return {
        "other.first": 1,
        "w.a": x,
        "w.g.c": x,
        "w.g.d": 1 - x,
        "w.b": 1 - x,
        "w.list": FrozenList([x]),
        "wide.z": 2,
    }


def plain(x: float) -> dict[str, Any]:
    return {"a": x, "g": {"c": x, "d": 1 - x}, "b": 1 - x, "list": [x]}


@pytest.fixture
def source() -> SharedSource:
    return SharedSource(make, 0.25)


@pytest.fixture
def x(source: SharedSource) -> Section:
    return Section(source, "w")


def kwargs(**given: Any) -> dict[str, Any]:
    return given


def updated(x: Mapping[str, Any]) -> dict[str, Any]:
    d: dict[str, Any] = {"a": None}
    d.update(x)
    return d


def ior(x: Section) -> dict[str, Any]:
    d: dict[str, Any] = {}
    d |= x
    return d


def by_eq(x: Section, compare: Callable[[Any, Any], bool]) -> dict[str, Any]:
    """Return what a comparison saw of the section."""
    seen: dict[str, Any] = {}

    class Probe:
        __hash__ = None  # type: ignore[assignment]

        def __init__(self, key: str) -> None:
            self.key = key

        def __eq__(self, other: object) -> bool:
            seen[self.key] = other
            return True

    assert compare({key: Probe(key) for key in plain(0)}, x)
    return seen


NOTHING: dict[str, Any] = {}
WHOLE: dict[str, Callable[[Section], Any]] = {
    "dict(x)": dict,
    "dict(x, **more)": lambda x: dict(x, **NOTHING),
    "{**x}": lambda x: {**x},
    "f(**x)": lambda x: kwargs(**x),
    "f(more, **x)": lambda x: kwargs(**x),
    "d.update(x)": updated,
    "d |= x": ior,
    "x | d": lambda x: x | {},
    "d | x": lambda x: {} | x,
    "frozen | x": lambda x: FrozenDict() | x,
    "x | x": lambda x: x | x,
    "x.copy()": lambda x: x.copy(),
    "x.items()": lambda x: dict(x.items()),
    "x.values()": lambda x: dict(zip(plain(0), x.values(), strict=True)),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 0": lambda x: pickle.loads(pickle.dumps(x, 0)),
    "json": lambda x: json.loads(json.dumps(x)),
    "json indent": lambda x: json.loads(json.dumps(x, indent=1, sort_keys=True)),
    "json nested": lambda x: json.loads(json.dumps([{"x": x}]))[0]["x"],
    "repr": lambda x: eval(repr(x)),
    "str": lambda x: eval(f"{x!s}"),
    "OrderedDict": OrderedDict,
    "Counter": Counter,
    "defaultdict": lambda x: defaultdict(int, x),
    "MappingProxyType": lambda x: MappingProxyType(x).copy(),
    "map": lambda x: next(iter(map(dict, [x]))),
    "sorted": lambda x: dict(sorted(x.items())),
    "d == x": lambda x: by_eq(x, operator.eq),
    "d != x": lambda x: by_eq(x, lambda d, x: not operator.ne(d, x)),
    "x == d": lambda x: by_eq(x, lambda d, x: x == d),
}
each_whole = pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE.keys())


# --- a dictionary ---------------------------------------------------------------------------------


@each_whole
def test_whole_equals_the_plain_dict(x: Section, whole: Callable[[Section], Any]) -> None:
    assert whole(x) == plain(0.25)


def test_is_a_dict(x: Section) -> None:
    assert isinstance(x, dict)
    assert isinstance(x, Mapping)
    assert x
    assert len(x) == 4
    assert list(x) == list(x.keys()) == ["a", "g", "b", "list"]
    assert list(reversed(x)) == list(reversed(x.keys())) == ["list", "b", "g", "a"]
    assert "a" in x
    assert "nope" not in x
    assert 3 not in x
    assert x["a"] == x.get("a") == x.get("a", 9) == 0.25
    assert x.keys() & {"a", "nope"} == {"a"}
    assert x.keys() == plain(0).keys()
    assert repr(x.keys()) == "dict_keys(['a', 'g', 'b', 'list'])"
    assert sorted(x["g"].items()) == [("c", 0.25), ("d", 0.75)]
    assert max(x["g"], key=x["g"].get) == "d"
    assert "{a} {b}".format_map(x) == "0.25 0.75"
    assert "%(a)s" % x == "0.25"  # noqa: UP031
    assert ChainMap({}, x)["a"] == 0.25


def test_equality_both_ways(source: SharedSource, x: Section) -> None:
    same, less = plain(0.25), {"a": 0.25}
    assert x == same
    assert same == x
    assert x == freeze(same)
    assert freeze(same) == x
    assert x == Section(source, "w")
    assert not operator.ne(x, Section(source, "w"))
    assert x != less
    assert less != x
    assert x != Section(source, "w.g")
    assert not operator.eq(x, 3)
    assert {"w": x} == {"w": same}


def test_is_unhashable_as_a_dict_is(x: Section) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_matches_mapping_patterns(x: Section) -> None:
    match x:
        case {"nope": _}:
            pytest.fail("matched a key that is not there")
        case {"a": a, "g": {"d": d}, **rest}:
            assert (a, d, list(rest)) == (0.25, 0.75, ["b", "list"])
        case _:
            pytest.fail("did not match")


def test_copies_are_plain_and_writable(x: Section) -> None:
    for made in (x.copy(), copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x | {}, dict(x)):
        assert type(made) is dict
        made["a"] = 3
    assert x["a"] == 0.25


WRITES: list[Callable[[Any], Any]] = [
    lambda x: operator.setitem(x, "a", 1),
    lambda x: operator.delitem(x, "a"),
    lambda x: x.__ior__({"a": 1}),
    lambda x: x.clear(),
    lambda x: x.pop("a"),
    lambda x: x.popitem(),
    lambda x: x.setdefault("a", 1),
    lambda x: x.update(a=1),
    lambda x: operator.setitem(x["g"], "c", 1),
    lambda x: operator.setitem(dict(x)["g"], "c", 1),
    lambda x: x["list"].append(1),
]


@pytest.mark.parametrize("write", WRITES)
def test_writes_are_refused(x: Section, write: Callable[[Any], Any]) -> None:
    with pytest.raises(ReadOnlyError, match="transaction"):
        write(x)
    assert x == plain(0.25)


# --- unknown keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [lambda x: x["aa"], lambda x: x.get("aa"), lambda x: x.__getitem__("aa")])
def test_unknown_key_names_the_full_key(x: Section, read: Callable[[Section], Any]) -> None:
    with pytest.raises(UnknownParamError, match=r"`w\.aa` is not a known parameter. Did you mean `w\.a`"):
        read(x)


def test_get_returns_only_an_explicit_default(x: Section) -> None:
    assert x.get("nope", 0.0) == 0.0
    assert x.get("nope", None) is None
    assert x.get("g", {}) is x["g"]
    with pytest.raises(TypeError, match="at most 2"):
        x.get("nope", 1, 2)


def test_unknown_key_of_a_group(x: Section) -> None:
    with pytest.raises(UnknownParamError, match=r"`w\.g\.nope`"):
        x["g"]["nope"]


@pytest.mark.parametrize("prefix", ["nope", "w.nope", "wid", "w.", ".", ""])
def test_prefix_of_nothing(source: SharedSource, prefix: str) -> None:
    with pytest.raises(UnknownParamError):
        Section(source, prefix)


def test_prefix_errors_help(source: SharedSource) -> None:
    with pytest.raises(UnknownParamError, match=r"`w\.gg` .*Did you mean `w\.g`"):
        Section(source, "w.gg")
    with pytest.raises(
        UnknownParamError, match=r"`w\.a` is a parameter, not a section.*params.get\('w\.a'\)"
    ):
        Section(source, "w.a")
    with pytest.raises(MalformedKeyError):
        Section(source, 3)  # type: ignore[arg-type]


# --- groups ---------------------------------------------------------------------------------------


def test_group_is_a_live_section_of_its_own(source: SharedSource, x: Section) -> None:
    group = x["g"]
    assert isinstance(group, Section)
    assert x.get("g") is group
    source.commit(0.5)
    assert group == {"c": 0.5, "d": 0.5}
    assert x["g"] is group
    assert x["g"]["d"] == 0.5


@each_whole
def test_group_inside_a_whole_is_data_of_that_revision(source: SharedSource, x: Section, whole: Any) -> None:
    before = whole(x)
    source.commit(0.5)
    assert before == plain(0.25)
    assert not isinstance(before["g"], Section)


def test_dict_valued_parameter_is_no_group() -> None:
    made = SharedSource(lambda v: {"n.map": FrozenDict({"k": v}), "n.group.leaf": v}, 0.5)
    x = Section(made, "n")
    assert type(x["map"]) is FrozenDict
    assert type(x["group"]) is Section
    assert x == {"map": {"k": 0.5}, "group": {"leaf": 0.5}}


def test_frozen_section_is_data() -> None:
    values = Values(make(0.25))
    tree = frozen_section(values, "w")
    assert tree == plain(0.25)
    assert type(tree) is type(tree["g"]) is FrozenDict
    assert frozen_section(values, "w.g") == {"c": 0.25, "d": 0.75}
    assert hash(tree["g"]) == hash(freeze({"c": 0.25, "d": 0.75}))


# --- never stale ----------------------------------------------------------------------------------


SINGLE: dict[str, Callable[[Section], Any]] = {
    "x[key]": lambda x: x["a"],
    "x.get(key)": lambda x: x.get("a"),
    "x.get(key, d)": lambda x: x.get("a", 0),
    "x[group][key]": lambda x: x["g"]["c"],
    "format_map": lambda x: float("{a}".format_map(x)),
    "itemgetter": operator.itemgetter("a"),
    "ChainMap": lambda x: ChainMap(x)["a"],
}


def test_every_read_sees_what_another_process_committed(source: SharedSource, x: Section) -> None:
    start = 1
    with source.remote() as commit:
        for name, read in SINGLE.items():
            for n in range(start, start + 10):
                commit(n / 1000)
                assert read(x) == n / 1000, name
            start += 10
        for name, whole in WHOLE.items():
            for n in range(start, start + 10):
                commit(n / 1000)
                assert whole(x) == plain(n / 1000), name
            start += 10


def test_loop_over_keys_reads_fresh_values(source: SharedSource, x: Section) -> None:
    for keys in (x, x.keys(), list(x.keys())):
        for n, key in enumerate(keys):
            source.commit(n / 10)
            assert x[key] == plain(n / 10)[key]


def test_keys_kept_or_iterated_elsewhere_do_not_hold_a_revision(source: SharedSource, x: Section) -> None:
    def call(f: Callable[..., Any], *args: Any) -> Any:  # its frame is the same object each time, often
        return f(*args)

    keys = call(x.keys)
    for n in range(1, 20):
        source.commit(n / 100)
        assert call(x.__getitem__, "a") == n / 100
        if n == 9:
            assert call(list, keys) == ["a", "g", "b", "list"]
        keys = call(x.keys)


def test_copy_that_fails_midway_does_not_hold_a_revision(source: SharedSource, x: Section) -> None:
    for n in range(1, 10):
        source.commit(n / 10)
        with pytest.raises(TypeError, match="multiple values"):
            kwargs(a=0, **x)
        assert x._pins
        source.commit(n / 100)
        assert x["a"] == n / 100
        assert not x._pins
        assert x.flag is not True  # fast again


def test_change_inside_the_process_is_seen(source: SharedSource, x: Section) -> None:
    assert x["a"] == 0.25
    source.override(w__a=9, w__new=1)
    assert x["a"] == 9
    assert dict(x)["new"] == dict.copy(x)["new"] == 1
    source.override()
    assert x["a"] == 0.25
    assert "new" not in x
    assert "new" not in dict.copy(x)


def test_expiry_during_a_refresh_is_not_lost(source: SharedSource, x: Section) -> None:
    current = source.current

    def overtaken() -> Any:
        answer = current()
        if not source._over:
            source.override(w__a=9)  # after this reader has got its answer, before it publishes it
        return answer

    source.current = overtaken  # type: ignore[method-assign]
    x.flag = True
    x["a"]
    assert x["a"] == 9


def test_storage_follows_reads_for_code_that_bypasses_methods(source: SharedSource, x: Section) -> None:
    source.commit(0.5)
    assert x["a"] == 0.5
    assert dict.copy(x) == plain(0.5)


def test_failing_source_raises_each_time(source: SharedSource, x: Section) -> None:
    def fail() -> Any:
        raise OSError("no snapshot")

    current = source.current
    source.current = fail  # type: ignore[method-assign]
    source.commit(0.5)
    for _ in range(3):
        with pytest.raises(OSError, match="no snapshot"):
            x["a"]
    source.current = current  # type: ignore[method-assign]
    assert x["a"] == 0.5


def test_section_can_be_forgotten(source: SharedSource) -> None:
    x = Section(source, "w")
    x["g"]
    dict(x)
    ref = weakref.ref(x)
    del x
    gc.collect()
    assert ref() is None


# --- never half -----------------------------------------------------------------------------------


@pytest.fixture
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def torn(seen: Mapping[str, Any]) -> bool:
    return seen["a"] + seen["b"] != 1 or seen != plain(seen["a"])


def run_threads(jobs: list[Callable[[], None]], seconds: float) -> None:
    """Repeat each job in a thread; raise what any of them raised."""
    end = time.monotonic() + seconds
    failures: list[BaseException] = []

    def repeat(job: Callable[[], None]) -> None:
        try:
            while time.monotonic() < end and not failures:
                job()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("names", [list(WHOLE), ["dict(x)", "{**x}", "f(**x)", "d.update(x)"], ["json"]])
def test_no_operation_sees_half_of_a_commit(source: SharedSource, x: Section, names: list[str]) -> None:
    def whole() -> None:
        for name in names:
            seen = WHOLE[name](x)
            assert not torn(seen), f"{name} saw {seen}"

    def one() -> None:  # moves the section on under the others
        for key in ("a", "b", "g"):
            x[key]

    def failing() -> None:
        with pytest.raises(TypeError):
            kwargs(a=0, **x)

    with source.writer(lambda: time.sleep(1e-5)):
        run_threads([whole, whole, one, failing], 1.7)
    assert not torn(dict(x))


@contextmanager
def before_each_key(step: Callable[[], None]) -> Iterator[None]:
    """Run ``step`` on this thread whenever C code or anyone else enters ``x[key]``, before its first line."""

    def trace(frame: FrameType, event: str, arg: Any) -> None:
        if frame.f_code is Section.__getitem__.__code__:
            sys.settrace(None)
            step()
            sys.settrace(trace)

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(outer)


def in_thread(job: Callable[[], None]) -> None:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()


COPIES = ["dict(x)", "{**x}", "f(**x)", "d.update(x)", "d |= x", "OrderedDict", "defaultdict", "map"]


@pytest.mark.parametrize("name", COPIES)
def test_commit_and_reads_of_another_thread_before_each_key(
    source: SharedSource, x: Section, name: str
) -> None:
    copied = WHOLE[name]
    single: list[float] = []
    whole: list[dict[str, Any]] = []

    def step() -> None:
        source.commit(0.5 + len(single) / 100)
        in_thread(lambda: whole.append(copied(x)))
        in_thread(lambda: single.append(x["a"]))  # last: it leaves the section as fast as it can

    with before_each_key(step):
        outer = copied(x)
    assert outer == plain(0.25)
    assert whole == [plain(0.5 + n / 100) for n in range(4)]
    assert single == [0.5, 0.51, 0.52, 0.53], "others saw each commit at once"
    assert x["a"] == 0.53
    assert not x._pins


@pytest.mark.parametrize("name", COPIES)
def test_signal_handler_reads_before_each_key(source: SharedSource, x: Section, name: str) -> None:
    copied = WHOLE[name]
    single: list[float] = []
    whole: list[dict[str, Any]] = []

    def step() -> None:
        source.commit(0.5 + len(single) / 100)
        whole.append(copied(x))
        single.append(x["a"])

    with before_each_key(step):
        outer = copied(x)
    assert outer == plain(0.25)
    assert whole == [plain(0.5 + n / 100) for n in range(4)]
    assert single == [0.5, 0.51, 0.52, 0.53]
    assert x["a"] == 0.53


def test_a_pin_set_while_dead_ones_are_sought_stays(x: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    code = test_a_pin_set_while_dead_ones_are_sought_stays.__code__
    place, tree = (1, 2, code), frozen_section(Values(make(0.25)), "w")
    x._pin(place, tree)
    x._pin((3, 4, code), tree)

    def places() -> set[Any]:  # the same instruction starts its next copy meanwhile
        x._pin(place, tree)
        return set()

    monkeypatch.setattr(_section, "_own_places", places)
    x._drop_dead_pins()
    assert list(x._pins) == [place]


def fail_to_copy(x: Section) -> None:
    with pytest.raises(TypeError):
        kwargs(a=0, **x)


def test_a_copy_that_failed_in_a_thread_that_died_slows_nobody(source: SharedSource, x: Section) -> None:
    in_thread(lambda: fail_to_copy(x))
    source.commit(0.5)
    assert x["a"] == 0.5
    assert x.flag is not True and not x._pins


def test_a_copy_that_failed_in_a_thread_that_lives_holds_nobody_to_its_revision(
    source: SharedSource, x: Section
) -> None:
    failed, go_on = threading.Event(), threading.Event()

    def work() -> None:
        fail_to_copy(x)
        failed.set()
        go_on.wait()
        assert x["a"] == 0.5

    thread = threading.Thread(target=work)
    thread.start()
    failed.wait()
    source.commit(0.5)
    assert x["a"] == 0.5 and dict(x) == plain(0.5) and x.flag is True
    go_on.set()
    thread.join()
    assert x["a"] == 0.5 and x.flag is not True and not x._pins


FAILING_COPIES = """
import gc, sys, threading, time
from shared_source import SharedSource
from paramstore import _section
from paramstore._section import Section

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        for _ in range(20):  # long enough for another thread to be given its turn
            pass

def copy_and_fail():
    while time.monotonic() < end:
        try:
            Garbage(), dict(a=0, **section)
        except TypeError:
            section["a"]  # looks which copies ended

section = Section(SharedSource(lambda x: {"w.a": x, "w.b": x}, 0.25), "w")
sys.setswitchinterval(1e-5)
gc.set_threshold(int(sys.argv[1]))
end = time.monotonic() + 3
threads = [threading.Thread(target=job) for job in [copy_and_fail] * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print('done')
"""


@pytest.mark.parametrize("threshold", ["1", "30"])
def test_garbage_collections_while_dead_pins_are_sought_harm_nobody(threshold: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING_COPIES, threshold],
        check=False,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_read_from_a_thread_without_frames(source: SharedSource, x: Section) -> None:
    """C code called by a new thread itself has no calling frame to name."""
    import _thread

    done: list[int] = []

    class Store(dict[str, Any]):
        def __del__(self) -> None:
            done.append(1)

    for n in range(1, 5):
        source.commit(n / 10)
        into = Store()
        _thread.start_new_thread(dict.update, (into, x))
        while len(into) < 4:
            time.sleep(0.001)
        assert dict(into) == plain(n / 10)
    assert x["a"] == 0.4


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_child_process_forked_under_a_copy_reads_on(source: SharedSource, x: Section) -> None:
    with source.writer(lambda: time.sleep(1e-4)):
        stop = threading.Event()

        def copy_on() -> None:
            while not stop.is_set():
                dict(x)

        thread = threading.Thread(target=copy_on)
        thread.start()
        try:
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    ok = not torn(dict(x)) and x["a"] + x.copy()["b"] is not None and not x._pins
                    os._exit(0 if ok else 1)
                assert os.waitpid(pid, 0)[1] == 0
        finally:
            stop.set()
            thread.join()
