"""Live attributes: on instance, class and subclass, and as fields of every kind of dataclass."""

from __future__ import annotations

import abc
import copy
import dataclasses
import enum
import gc
import inspect
import io
import math
import operator
import pickle
import pydoc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, InitVar, asdict, astuple, dataclass, field, fields, make_dataclass, replace
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypedDict, TypeVar, runtime_checkable
from unittest import mock

import pytest
from shared_source import SharedSource

from paramstore._live import Live
from paramstore._values import FrozenList
from paramstore.errors import LiveError, UnknownParamError


def make(x: float) -> dict[str, Any]:
    return {"g.x": x, "g.y": 1 - x, "g.list": FrozenList([x])}


SOURCE = SharedSource(make, 0.25)
X: Any = Live(SOURCE, "g.x")  # the module-level mistake


def live(key: str) -> Any:
    return Live(SOURCE, key)


@pytest.fixture(autouse=True)
def quarter() -> Iterator[None]:
    SOURCE.commit(0.25)
    yield
    SOURCE.override()


@dataclass
class Plain:
    n: int = 1
    x: float = live("g.x")
    y: float = live("g.y")


@dataclass(frozen=True, order=True)
class Frozen:
    n: int = 1
    x: float = live("g.x")
    y: float = live("g.y")


@dataclass(slots=True)
class Slotted:
    n: int = 1
    x: float = live("g.x")
    y: float = live("g.y")


@dataclass(frozen=True, slots=True, weakref_slot=True, order=True)
class FrozenSlotted:
    n: int = 1
    x: float = live("g.x")
    y: float = live("g.y")


@dataclass
class SubOfPlain(Plain):
    z: int = 2


@dataclass(slots=True)
class SlottedOfPlain(Plain):
    z: int = 2


@dataclass(slots=True)
class SlottedOfSlotted(Slotted):
    z: int = 2


@dataclass
class PlainOfSlotted(Slotted):
    z: int = 2


@dataclass(frozen=True, slots=True)
class SlottedOfFrozen(Frozen):
    z: int = 2


@dataclass(frozen=True)
class FrozenOfSlotted(FrozenSlotted):
    z: int = 2


@dataclass
class ByField:
    n: int = 1
    x: float = field(default=live("g.x"), metadata={"unit": "bps"})
    y: float = field(default=live("g.y"))


@dataclass(slots=True)
class SlottedByField:
    n: int = 1
    x: float = field(default=live("g.x"))
    y: float = field(default=live("g.y"))


@dataclass
class Redeclared(Plain):
    x: float  # type: ignore[misc]  # dataclasses takes the default from the base class


@dataclass(slots=True)
class SlottedRedeclared(Plain):
    x: float  # type: ignore[misc]


T = TypeVar("T")


@dataclass
class OfGeneric(abc.ABC, Generic[T]):
    n: int = 1
    x: float = live("g.x")
    y: float = live("g.y")


KINDS: list[Any] = [
    Plain, Frozen, Slotted, FrozenSlotted, SubOfPlain, SlottedOfPlain, SlottedOfSlotted, PlainOfSlotted,
    SlottedOfFrozen, FrozenOfSlotted, ByField, SlottedByField, Redeclared, SlottedRedeclared, OfGeneric,
]  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS)


def is_frozen(kind: Any) -> bool:
    return bool(kind.__dataclass_params__.frozen)


# --- a class attribute ----------------------------------------------------------------------------


def gate() -> Any:
    class Gate:
        MIN: Any = live("g.x")
        OTHER = live("g.y")
        BOUND: ClassVar[float] = live("g.x")

    return Gate


@pytest.mark.parametrize("name", ["MIN", "BOUND"])
def test_live_on_instance_class_and_subclass(name: str) -> None:
    cls = gate()
    sub = type("Sub", (cls,), {})
    readers = [cls, cls(), sub, sub()]
    with SOURCE.remote() as commit:
        for n in range(1, 20):
            commit(n / 100)
            assert [getattr(r, name) for r in readers] == [n / 100] * 4
            assert [r.OTHER for r in readers] == [1 - n / 100] * 4


def test_unknown_key_fails_when_the_class_is_made() -> None:
    with pytest.raises(UnknownParamError, match=r"g\.z"):

        class _Gate:
            Z = live("g.z")


@pytest.mark.parametrize("name", ["MIN", "OTHER", "BOUND"])
def test_own_value_of_one_instance(name: str) -> None:
    cls = gate()
    one, other = cls(), cls()
    standing = getattr(other, name)
    with pytest.raises(AttributeError, match="live"):
        delattr(one, name)
    setattr(one, name, 9)
    assert getattr(one, name) == 9
    assert vars(one) == {name: 9}
    assert [getattr(other, name), getattr(cls, name)] == [standing, standing]
    SOURCE.commit(0.5)
    assert [getattr(one, name), getattr(other, name), getattr(cls, name)] == [9, 0.5, 0.5]
    delattr(one, name)
    assert getattr(one, name) == 0.5
    with pytest.raises(AttributeError, match="live"):
        delattr(one, name)


def test_own_value_may_be_anything() -> None:
    one = gate()()
    values: list[Any] = [None, False, [], gate()]
    for value in values:
        one.MIN = value
        assert one.MIN is value


def test_class_assignment_replaces_it() -> None:
    cls = gate()
    cls.MIN = 5
    assert cls().MIN == cls.MIN == 5
    cls.LATE = live("g.x")  # no __set_name__ is called for it
    one = cls()
    assert one.LATE == 0.25
    one.LATE = 3
    assert (one.LATE, cls().LATE) == (3, 0.25)


def test_class_without_room_for_own_values() -> None:
    class Tight:
        __slots__ = ()
        MIN: Any = live("g.x")

    class Loose(Tight):
        pass

    with pytest.raises(AttributeError, match="read-only"):
        Tight().MIN = 3
    loose = Loose()
    loose.MIN = 4
    assert (loose.MIN, Tight().MIN) == (4, 0.25)


def test_one_live_under_two_names_and_in_two_classes() -> None:
    shared = live("g.x")

    class A:
        P = Q = shared

    class B:
        P = shared

    a, b = A(), B()
    a.P = 1
    assert (a.P, a.Q, b.P, A.P, A.Q) == (1, 0.25, 0.25, 0.25, 0.25)
    a.Q, b.P = 2, 3
    assert (a.P, a.Q, b.P, A.P) == (1, 2, 3, 0.25)


def test_patching_and_unpatching() -> None:
    cls = gate()
    one = cls()
    with mock.patch.object(cls, "MIN", 7):
        assert (cls.MIN, one.MIN) == (7, 7)
    with mock.patch.object(one, "MIN", 8):
        assert (cls.MIN, one.MIN) == (0.25, 8)
    patch = pytest.MonkeyPatch()
    patch.setattr(cls, "MIN", 7)
    patch.setattr(one, "OTHER", 8)
    patch.undo()
    SOURCE.commit(0.5)
    assert (cls.MIN, one.MIN, cls().OTHER) == (0.5, 0.5, 0.5)


def test_abstract_generic_and_protocol_classes() -> None:
    class Base(abc.ABC, Generic[T]):
        X: float = live("g.x")

        @abc.abstractmethod
        def f(self) -> None: ...

    class Real(Base[int]):
        def f(self) -> None: ...

    @runtime_checkable
    class HasX(Protocol):
        X: float = live("g.x")

    class Explicit(HasX):
        pass

    SOURCE.commit(0.5)
    assert [Base.X, Real.X, Real().X, Base[int].X, HasX.X, Explicit().X] == [0.5] * 6
    assert isinstance(gate()(), HasX) is False
    assert isinstance(type("Bare", (), {"X": 1})(), HasX)


def test_change_inside_the_process_is_seen() -> None:
    one = gate()()
    assert one.MIN == 0.25
    SOURCE.override(g__x=9)
    assert one.MIN == 9
    SOURCE.override()
    assert one.MIN == 0.25


def test_inspection_does_not_crash() -> None:
    for cls in (gate(), Plain, FrozenSlotted):
        for thing in (cls, cls()):
            assert dict(inspect.getmembers(thing))
            assert pydoc.render_doc(thing)
            pydoc.Helper(output=io.StringIO()).help(thing)
        assert inspect.classify_class_attrs(cls)
    assert str(inspect.signature(Plain)).startswith("(n: 'int' = 1, x: 'float' = live('g.x'), ")
    assert "live('g.x')" in repr(fields(Plain)[1])
    assert inspect.signature(Plain) == inspect.signature(Plain)


def test_live_can_be_forgotten() -> None:
    ref = weakref.ref(vars(gate())["MIN"])
    gc.collect()
    assert ref() is None


# --- fields of dataclasses ------------------------------------------------------------------------


@each_kind
def test_field_is_live(kind: Any) -> None:
    one = kind()
    with SOURCE.remote() as commit:
        for n in range(1, 20):
            commit(n / 100)
            assert (one.x, one.y, kind().x) == (n / 100, 1 - n / 100, n / 100)
            assert (asdict(one)["x"], astuple(one)[1]) == (n / 100, n / 100)
            assert f"x={n / 100}," in repr(one)
            assert one == kind()
    assert [f.name for f in fields(kind)][:3] == ["n", "x", "y"]
    assert [p.name for p in inspect.signature(kind).parameters.values()][:3] == ["n", "x", "y"]
    if kind is not OfGeneric:
        assert "x" not in getattr(one, "__dict__", {})


@each_kind
def test_class_reads_live_too(kind: Any) -> None:
    SOURCE.commit(0.5)
    assert kind.x == 0.5


@each_kind
def test_argument_gives_the_instance_its_own_value(kind: Any) -> None:
    for one in (kind(x=0.3), kind(5, 0.3)):
        SOURCE.commit(0.5)
        assert (one.x, one.y, kind().x) == (0.3, 0.5, 0.5)
        assert one != kind()
        assert repr(one).count("x=0.3,") == 1
        assert asdict(one)["x"] == 0.3


@each_kind
def test_assignment_and_deletion(kind: Any) -> None:
    one = kind()
    if is_frozen(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.x = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            del one.x
        return
    one.x = 0.3
    SOURCE.commit(0.5)
    assert (one.x, kind().x) == (0.3, 0.5)
    del one.x
    assert one.x == 0.5
    with pytest.raises(AttributeError):
        del one.x
    one.x = 1
    one.__init__()
    assert one.x == 0.5, "the default is live"


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": replace,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "pickle 2": lambda one: pickle.loads(pickle.dumps(one, 2)),
}
if sys.version_info >= (3, 13):
    COPIES["copy.replace"] = copy.replace
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())


@each_kind
@each_copy
def test_copy_keeps_live_live_and_own_own(kind: Any, copied: Callable[[Any], Any]) -> None:
    for one, expected in ((kind(), 0.5), (kind(x=0.3), 0.3), (kind(n=7, y=1), 0.5)):
        twin = copied(one)
        assert twin == one
        SOURCE.commit(0.5)
        assert (twin.x, twin.n, type(twin)) == (expected, one.n, kind)
        twin = copied(twin)
        SOURCE.commit(0.25)
        assert twin == one


@each_kind
def test_replace_names_the_field(kind: Any) -> None:
    one = replace(kind(), x=0.3, n=4)
    SOURCE.commit(0.5)
    assert (one.x, one.y, one.n) == (0.3, 0.5, 4)
    two = replace(one, y=0.7)
    SOURCE.commit(0.6)
    assert (two.x, two.y, two.n) == (0.3, 0.7, 4)
    three = replace(kind(), n=2)
    SOURCE.commit(0.7)
    assert (three.x, three.n) == (0.7, 2)


def test_pickles_in_a_process_where_nothing_was_pinned_yet() -> None:
    code = (
        "import pickle, sys; sys.path[:0] = [%r, *%r]; import test_live as t\n"
        "for one, two in pickle.load(sys.stdin.buffer):\n"
        "    assert (one.x, two.x) == (0.25, 0.3), (one, two)\n"
        "    t.SOURCE.commit(0.5); assert (one.x, two.x) == (0.5, 0.3), (one, two); t.SOURCE.commit(0.25)\n"
    )
    pairs = [(kind(), kind(x=0.3)) for kind in KINDS]
    here = __file__.rpartition("/")[0]
    code = code % (here, [p for p in sys.path if p])
    # The class is imported as part of test_live there, under whatever name it has here.
    code = code.replace("test_live", __name__)
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(pairs), check=True, timeout=20)


def test_frozen_hash_and_order_use_the_value_of_the_moment() -> None:
    kinds: list[Any] = [Frozen, FrozenSlotted]
    for kind in kinds:
        one, own = kind(), kind(x=0.25, y=0.75)
        assert hash(one) == hash(own)
        assert one == own
        SOURCE.commit(0.5)
        assert one > own
        assert hash(one) != hash(own)
        assert {kind(): 1}[one] == 1
        SOURCE.commit(0.25)


def test_options_of_field() -> None:
    @dataclass
    class C:
        a: float = field(default=live("g.x"), repr=False, compare=False, metadata={"unit": "bps"})
        b: float = field(default=live("g.x"), kw_only=True)
        c: float = field(default=live("g.x"), init=False)
        d: int = 3

    SOURCE.commit(0.5)
    one = C(0.1, 4)
    assert (one.a, one.b, one.c, one.d) == (0.1, 0.5, 0.5, 4)
    assert repr(one).endswith("C(b=0.5, c=0.5, d=4)")
    assert one == C(0.2, 4)
    assert fields(C)[0].metadata == {"unit": "bps"}
    assert [f.init for f in fields(C)] == [True, True, False, True]
    assert str(inspect.signature(C)).count("*, b:") == 1
    with pytest.raises((TypeError, ValueError), match="init=False"):
        replace(one, c=1)
    assert replace(one, b=2).b == 2


def test_keyword_only_and_match() -> None:
    @dataclass(kw_only=True, slots=True)
    class C:
        x: float = live("g.x")
        n: int

    @dataclass
    class D:
        n: int
        _: KW_ONLY
        x: float = live("g.x")

    SOURCE.commit(0.5)
    assert (C(n=1).x, C(n=1, x=2).x, D(1).x, D(1, x=2).x) == (0.5, 2, 0.5, 2)
    match Plain():
        case Plain(n, x):
            assert (n, x) == (1, 0.5)


@pytest.mark.parametrize("slots", [False, True])
def test_post_init_and_init_var_beside_it(slots: bool) -> None:
    @dataclass(slots=slots)  # type: ignore[literal-required]
    class C:
        seed: InitVar[int] = 2
        x: float = live("g.x")
        total: float = field(init=False)

        def __post_init__(self, seed: int) -> None:
            self.total = self.x * seed
            if seed == 3:
                self.x = 9

    assert (C().total, C(3).x, C().x) == (0.5, 9, 0.25)
    one = replace(C(), seed=2)
    SOURCE.commit(0.5)
    assert one.x == 0.5


@pytest.mark.parametrize("slots", [False, True])
def test_class_var_in_a_dataclass(slots: bool) -> None:
    @dataclass(slots=slots)  # type: ignore[literal-required]
    class C:
        X: ClassVar[float] = live("g.x")
        n: int = 1
        UNANNOTATED = live("g.y")

    SOURCE.commit(0.5)
    assert (C.X, C().X, C.UNANNOTATED, C().UNANNOTATED) == (0.5, 0.5, 0.5, 0.5)
    assert [f.name for f in fields(C)] == ["n"]


@pytest.mark.parametrize("base", [Plain, Slotted])
@pytest.mark.parametrize("slots", [False, True])
def test_subclass_overrides_with_a_plain_default(base: Any, slots: bool) -> None:
    cls = make_dataclass("Sub", [("x", float, 0.9)], bases=(base,), slots=slots)
    SOURCE.commit(0.5)
    one = cls()
    assert (one.x, one.y, cls(x=1).x, base().x) == (0.9, 0.5, 1, 0.5)
    assert replace(one, n=2).x == 0.9
    assert copy.copy(one).x == 0.9


@dataclass(slots=True)
class Ordinary:
    n: int = 1
    x: float = 3.0


@pytest.mark.parametrize("base", [Plain, Slotted])
@pytest.mark.parametrize("slots", [False, True])
def test_subclass_overrides_with_another_live(base: Any, slots: bool) -> None:
    cls = make_dataclass("Sub", [("x", float, live("g.y"))], bases=(base,), slots=slots)
    SOURCE.commit(0.9)
    assert (cls().x, base().x, cls(x=1).x) == (1 - 0.9, 0.9, 1)


@pytest.mark.parametrize("slots", [False, True])
def test_subclass_makes_an_ordinary_field_live(slots: bool) -> None:
    cls = make_dataclass("Sub", [("x", float, live("g.x"))], bases=(Ordinary,), slots=slots)
    SOURCE.commit(0.5)
    assert (cls().x, cls(x=1).x, replace(cls(), n=2).x, copy.copy(cls(x=1)).x) == (0.5, 1, 0.5, 1)
    assert Ordinary().x == 3.0


def test_plain_base_with_a_live_and_a_frozen_slotted_subclass() -> None:
    class Base:
        X: Any = live("g.x")

    @dataclass(frozen=True, slots=True)
    class Sub(Base):
        n: int = 1

    one = copy.deepcopy(Sub(2))
    SOURCE.commit(0.5)
    assert (one.X, one.n) == (0.5, 2)


@pytest.mark.parametrize("slots", [False, True])
def test_make_dataclass(slots: bool) -> None:
    cls = make_dataclass("Made", [("x", float, live("g.x")), ("n", int, 2)], slots=slots)
    SOURCE.commit(0.5)
    assert (cls().x, cls(x=1).x, cls().n) == (0.5, 1, 2)


@dataclass(slots=True)
class OwnState:
    x: float = live("g.x")
    n: int = 1

    def __getstate__(self) -> dict[str, Any]:
        return {"n": self.n + 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.n = state["n"]


def test_users_own_state_methods_stay() -> None:
    one = pickle.loads(pickle.dumps(OwnState()))
    SOURCE.commit(0.5)
    assert (one.x, one.n) == (0.5, 2)


def test_own_values_survive_pickling_beside_other_attributes() -> None:
    one = Plain()
    one.extra = 5  # type: ignore[attr-defined]
    assert vars(pickle.loads(pickle.dumps(one))) == {"n": 1, "extra": 5}


# --- what cannot be live --------------------------------------------------------------------------


USES: list[Callable[[Any], Any]] = [
    bool, int, float, complex, round, math.floor, math.ceil, math.trunc, math.sqrt, str, format, iter,
    len, list, abs, operator.neg, operator.pos, operator.invert, operator.index, pickle.dumps, range,
    lambda x: f"{x:.2f}", lambda x: 0.5 in x, lambda x: x[0], lambda x: x in [0.5], lambda x: x and 1,
    lambda x: divmod(x, 2), lambda x: divmod(2, x), lambda x: max(x, 1), lambda x: sum([x]),
    lambda x: [1, 2][x], lambda x: x == None, lambda x: sum([1, x]),  # noqa: E711
    *[
        call
        for op in (
            operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
            operator.pow, operator.matmul, operator.and_, operator.or_, operator.xor, operator.lshift,
            operator.rshift, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
        )
        for call in (lambda x, op=op: op(x, 2), lambda x, op=op: op(0.5, x))
    ],
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_the_object_itself_is_never_a_number(use: Callable[[Any], Any]) -> None:
    with pytest.raises(LiveError, match=r"params.get\('g.x'\)"):
        use(X)


def test_the_object_can_be_shown_hashed_and_told_apart() -> None:
    other = live("g.x")
    assert repr(X) == "live('g.x')"
    assert len({X, other, X}) == 2
    assert operator.eq(X, X)
    assert other != X
    assert copy.copy(X) is copy.deepcopy(X) is X


def test_function_default() -> None:
    def f(x: Any = live("g.x")) -> Any:  # noqa: B008
        return x * 2

    with pytest.raises(LiveError, match="function default"):
        f()


def test_named_tuple_default() -> None:
    class P(NamedTuple):
        x: float = live("g.x")

    with pytest.raises(LiveError, match="NamedTuple"):
        P().x + 1


def refused_by(make: Callable[[], Any], match: str) -> None:
    """Python 3.11 wraps what __set_name__ raises."""
    with pytest.raises((LiveError, RuntimeError)) as caught:
        make()
    error = caught.value if isinstance(caught.value, LiveError) else caught.value.__cause__
    assert isinstance(error, LiveError)
    assert match in str(error)


def test_enum_is_refused() -> None:
    def make() -> None:
        class _E(enum.Enum):
            A = 1
            X = live("g.x")

    refused_by(make, "Enum fixes")


def test_typed_dict_is_refused() -> None:
    def make() -> None:
        class _T(TypedDict):
            x: float = live("g.x")  # type: ignore[misc]

    refused_by(make, "TypedDict")


def test_init_var_is_refused() -> None:
    with pytest.raises(LiveError, match="InitVar"):

        @dataclass
        class _C:
            x: InitVar[float] = live("g.x")  # noqa: RUF009


def test_pydantic_is_refused() -> None:
    pydantic = pytest.importorskip("pydantic")

    def model() -> None:
        class _M(pydantic.BaseModel):  # type: ignore[misc, name-defined]
            x: float = live("g.x")

    refused_by(model, "pydantic")
    with pytest.raises(LiveError, match="pydantic"):

        @pydantic.dataclasses.dataclass
        class _D:
            x: float = live("g.x")

    with pytest.raises(LiveError, match="pydantic"):
        pydantic.TypeAdapter(Plain)

    class WithClassVar(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        X: ClassVar[float] = live("g.x")

    SOURCE.commit(0.5)
    assert (WithClassVar.X, WithClassVar().X) == (0.5, 0.5)


def test_attrs_fails_on_first_use() -> None:
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class _A:
        x: float = live("g.x")

    with pytest.raises(LiveError, match="attrs"):
        _A().x + 1
    with pytest.raises(LiveError):
        assert _A() == _A(x=0.25)  # type: ignore[call-arg]


def test_dataclass_that_copies_the_default_of_a_plain_base() -> None:
    class Base:
        X = live("g.x")

    @dataclass
    class Sub(Base):
        X: float

    with pytest.raises(LiveError, match=r"Write `X: ... = params.live\('g.x'\)`"):
        Sub()  # type: ignore[call-arg]


def test_base_init_that_assigns_another_live() -> None:
    class Sub(Plain):
        x = live("g.y")

    with pytest.raises(LiveError, match="dataclass"):
        Sub()


# --- threads --------------------------------------------------------------------------------------


def test_expiry_during_a_refresh_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    cls, current = gate(), SOURCE.current

    def overtaken() -> Any:
        answer = current()
        if not SOURCE._over:
            SOURCE.override(g__x=9)  # after this reader has got its answer, before it publishes it
        return answer

    monkeypatch.setattr(SOURCE, "current", overtaken)
    vars(cls)["MIN"].flag = True
    assert cls.MIN == 0.25
    assert cls.MIN == 9


def test_threads_read_and_set_while_another_process_commits() -> None:
    source = SharedSource(make, 0.0)

    @dataclass(slots=True)
    class C:
        x: float = Live(source, "g.x")  # type: ignore[assignment]

    end = time.monotonic() + 1.0
    failures: list[object] = []

    def read() -> None:
        shared = C()
        while time.monotonic() < end:
            before = source.current()[1]["g.x"]
            seen = shared.x
            after = source.current()[1]["g.x"]
            if not before <= seen <= after:
                failures.append((before, seen, after))

    def pin() -> None:
        while time.monotonic() < end:
            own = C(x=-1.0)
            if own.x != -1.0:
                failures.append(own)
            del own.x

    def commit() -> None:
        n = 0
        while time.monotonic() < end:
            n += 1
            source.commit(float(n))

    threads = [threading.Thread(target=job) for job in (read, read, pin, commit)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not failures
