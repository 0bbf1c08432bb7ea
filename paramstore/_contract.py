"""The first half of the contract that ``paramstore.testing`` publishes: loading and committing values."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paramstore._backends.base import Backend
from paramstore._model import Change
from paramstore._store import ParamStore
from paramstore.errors import (
    ConflictError,
    ContextError,
    LockTimeoutError,
    ParamstoreError,
    ReadOnlyError,
    UnknownParamError,
    ValidationError,
)

Json = Mapping[str, Any]


class Refusal:
    """What ``refused`` gives: the error, once the block has ended."""

    error: Any = None

    def says(self, *words: str) -> None:
        """Fail unless the message holds every one of ``words``."""
        for word in words:
            assert word in str(self.error), f"{word!r} is missing in: {self.error}"


@contextmanager
def refused(kind: type[BaseException]) -> Iterator[Refusal]:
    """Fail unless the block raises ``kind``."""
    refusal = Refusal()
    try:
        yield refusal
    except kind as error:
        refusal.error = error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


_FREE: Json = {"learnable": True}


def _weight(default: float) -> Json:
    return {
        "type": "number",
        "minimum": 0.0,
        "maximum": 1.0,
        "default": default,
        "x-param": {**_FREE, "decimals": 4},
    }


def _namespace(properties: Json, constraints: list[Json], dimensions: Json) -> Json:
    group = {"type": "object", "additionalProperties": False, "properties": properties}
    return {
        "type": "object",
        "required": ["schema", "values"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            "values": {**group, "x-constraints": constraints},
            "overrides": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "values": {"$ref": "#/properties/values"},
                        "at": {"type": "object", "properties": dimensions},
                    },
                },
            },
        },
    }


_LADDER: Json = {
    "type": "array",
    "x-param": _FREE,
    "default": [[0.5, 2.0], [0.2, 1.0]],
    "items": {
        "type": "array",
        "prefixItems": [{"type": "number"}, {"type": "number"}],
        "minItems": 2,
        "maxItems": 2,
    },
}
_DIMENSIONS: Json = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}

#: The two namespaces that the contract is tested with: schemas by namespace.
SCHEMAS: Mapping[str, Json] = {
    "gate": _namespace(
        {
            "trades": {"type": "integer", "minimum": 1, "maximum": 500, "default": 30, "x-param": _FREE},
            "on": {"type": "boolean", "default": True, "x-param": _FREE},
            "style": {"enum": ["slow", "fast"], "default": "slow", "x-param": _FREE},
            "tiers": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"high": _weight(0.5), "low": _weight(0.2)},
            },
            "ladder": _LADDER,
            "table": {
                "type": "object",
                "default": {"a": 1.5},
                "additionalProperties": {"type": "number"},
                "x-param": _FREE,
            },
        },
        [{"descending": ["tiers.high", "tiers.low"], "strict": True}],
        {"regime": {"enum": ["trend", "chop"]}},
    ),
    "weights": _namespace(
        {"a": _weight(0.5), "b": _weight(0.3), "c": _weight(0.2)},
        [{"sum": ["*"], "minimum": 0.8, "maximum": 1.4}],
        _DIMENSIONS,
    ),
}

#: Their first values, as values files hold them; "ETH" has a value in both of its contexts.
VALUES: Mapping[str, Json] = {
    "gate": {
        "schema": 1,
        "values": {
            "trades": 30,
            "on": True,
            "style": "slow",
            "tiers": {"high": 0.5, "low": 0.2},
            "ladder": [[0.5, 2], [0.2, 1.0]],
            "table": {"a": 1.5},
        },
    },
    "weights": {
        "schema": 1,
        "values": {"a": 0.5, "b": 0.3, "c": 0.2},
        "overrides": [
            {"at": {"regime": "trend"}, "values": {"a": 0.52}},
            {"at": {"symbol": "ETH"}, "values": {"a": 0.51, "b": 0.31}},
            {"at": {"symbol": "ETH", "regime": "trend"}, "values": {"a": 0.53}},
        ],
    },
}
_NAMES = ("trades", "on", "style", "tiers.high", "tiers.low", "ladder", "table")
KEYS = [f"gate.{name}" for name in _NAMES]


class ContractTools:
    """The two hooks that a backend's author gives, and what the tests below share."""

    def make_backend(self, schemas: Mapping[str, Json], values: Mapping[str, Json]) -> Backend:
        """Return a backend over a fresh, empty place that holds ``schemas`` and ``values``."""
        raise NotImplementedError

    def another_view(self, backend: Backend) -> Backend:
        """Return a second, independent handle on the data of ``backend``: another process's view."""
        raise NotImplementedError

    # -- tools for the tests below ----------------------------------------------------------------

    def store(self) -> ParamStore:
        """Return a store over a fresh backend with ``SCHEMAS`` and ``VALUES``."""
        return self.stores()[0]

    def stores(self) -> tuple[ParamStore, ParamStore]:
        """Return two stores that share their data but nothing else. Both have been read."""
        backend = self.make_backend(copy.deepcopy(dict(SCHEMAS)), copy.deepcopy(dict(VALUES)))
        mine = ParamStore(backend=backend, environ={})
        theirs = ParamStore(backend=self.another_view(backend), environ={})
        assert mine.revision == theirs.revision == 0
        return mine, theirs

    @staticmethod
    def set(store: ParamStore, values: Json, **context: Any) -> Any:
        with store.transaction(author="contract") as tx:
            for key, value in values.items():
                tx.set(key, value, **context)
        return tx.commit_result


class CommitContract(ContractTools):
    """What values are, and what a transaction does to them."""

    # -- loading ----------------------------------------------------------------------------------

    def test_values_have_the_type_that_the_schema_names(self) -> None:
        p = self.store().snapshot()
        assert [key for key in p if key.startswith("gate.")] == KEYS
        assert [repr(p[key]) for key in KEYS] == [
            "30", "True", "'slow'", "0.5", "0.2", "[(0.5, 2.0), (0.2, 1.0)]", "{'a': 1.5}",
        ]  # fmt: skip

    def test_containers_are_immutable(self) -> None:
        store = self.store()
        with refused(ReadOnlyError) as refusal:
            store.get("gate.ladder").append((0.1, 0.5))
        refusal.says("read-only", "params.transaction")
        with refused(ReadOnlyError):
            store.get("gate.table")["b"] = 1.0
        assert store.get("gate.table") == {"a": 1.5}

    def test_an_unknown_key_names_the_nearest(self) -> None:
        store = self.store()
        with refused(KeyError) as refusal:
            store.get("gate.trade")
        refusal.says("`gate.trade`", "`gate.trades`")
        assert isinstance(refusal.error, UnknownParamError)

    def test_overrides_win_by_number_of_dimensions_then_by_later_dimension(self) -> None:
        store = self.store()
        assert store.get("weights.a") == 0.5
        assert store.get("weights.a", symbol="BTC") == 0.5
        assert store.get("weights.a", regime="trend") == 0.52
        assert store.get("weights.a", symbol="BTC", regime="trend") == 0.52
        assert store.get("weights.a", symbol="ETH") == 0.51
        assert store.get("weights.a", symbol="ETH", regime="chop") == 0.51
        assert store.get("weights.a", symbol="ETH", regime="trend") == 0.53
        assert store.get("weights.b", symbol="ETH", regime="trend") == 0.31
        assert store.get("weights.a", symbol=None, regime=None) == 0.5

    def test_a_value_that_the_dimension_does_not_allow_is_refused(self) -> None:
        with refused(ContextError) as refusal:
            self.store().get("weights.a", regime="trned")
        refusal.says("'trned'", "`regime`", "'trend'", "'chop'")

    # -- commits ----------------------------------------------------------------------------------

    def test_a_commit_is_read_at_once_and_counts_one(self) -> None:
        store = self.store()
        result = self.set(store, {"gate.trades": 40})
        assert store.get("gate.trades") == 40
        assert (store.revision, result.revision, result.dry_run) == (1, 1, False)
        assert result.changes == (Change("gate.trades", 30, 40, {}, 40),)
        assert store.get("gate.style") == "slow"

    def test_reads_inside_see_what_the_transaction_would_leave(self) -> None:
        store = self.store()
        with store.transaction(author="contract", dry_run=True) as tx:
            tx["weights.a"] += 0.1
            assert tx["weights.a"] == 0.6
            assert tx.get("weights.a", symbol="BTC") == 0.6
            assert tx.get("weights.a", symbol="ETH") == 0.51  # its own value still wins
            tx.set("weights.a", 0.55, symbol="ETH")
            assert tx.get("weights.a", symbol="ETH", regime="chop") == 0.55
            assert tx.get("weights.a", symbol="ETH", regime="trend") == 0.53
            tx.remove("weights.a", symbol="ETH", regime="trend")
            assert tx.get("weights.a", symbol="ETH", regime="trend") == 0.52  # declared later, so it wins
            assert store.get("weights.a") == 0.5
            tx["weights.b"] = 0.2

    def test_an_exception_inside_writes_nothing(self) -> None:
        mine, theirs = self.stores()
        with refused(ZeroDivisionError), mine.transaction(author="contract") as tx:
            tx["gate.trades"] = 40
            tx["weights.a"] = 1 / 0
        assert [s.get("gate.trades") for s in (mine, theirs)] == [30, 30]
        assert mine.revision == theirs.revision == 0
        with refused(ParamstoreError):
            _ = tx.commit_result
        self.set(mine, {"gate.trades": 41})  # and the lock is free again
        assert theirs.get("gate.trades") == 41

    def test_one_wrong_value_refuses_every_namespace(self) -> None:
        mine, theirs = self.stores()
        with refused(ValidationError), mine.transaction(author="contract") as tx:
            tx["gate.trades"] = 40
            tx["weights.a"] = 1.0
        assert [s.get("gate.trades") for s in (mine, theirs)] == [30, 30]

    def test_namespaces_change_together(self) -> None:
        mine, theirs = self.stores()
        result = self.set(mine, {"gate.trades": 40, "weights.a": 0.6, "weights.b": 0.2})
        assert result.revision == 1
        p = theirs.snapshot()
        assert [p.revision, p["gate.trades"], p["weights.a"], p["weights.b"]] == [1, 40, 0.6, 0.2]
        keys = [change.key for change in mine.history()[-1].changes]
        assert keys == ["gate.trades", "weights.a", "weights.b"]

    def test_all_violations_are_reported_together(self) -> None:
        store = self.store()
        with refused(ValidationError) as refusal, store.transaction(author="contract") as tx:
            tx["gate.trades"] = 1000
            tx["gate.on"] = 1
            tx["weights.a"] = float("nan")
        assert len(refusal.error.violations) == 3
        refusal.says(
            "`gate.trades` = 1000 is above its maximum 500", "`gate.on`", "`weights.a` = nan",
            "Nothing was written; revision 0 stands.",
        )  # fmt: skip

    def test_constraints_bind_the_outcome(self) -> None:
        store = self.store()
        with refused(ValidationError) as refusal:
            self.set(store, {"weights.a": 1.0})
        refusal.says(
            "sum of a, b, c is at least 0.8 and at most 1.4", "1.5", "Nothing was written; revision 0 stands."
        )
        with refused(ValidationError) as refusal:
            self.set(store, {"gate.tiers.low": 0.5})
        refusal.says("tiers.high", "tiers.low")
        self.set(store, {"weights.a": 0.6, "weights.b": 0.2})
        with refused(ValidationError):  # a context that sets them all must satisfy them too
            self.set(store, {"weights.a": 0.6, "weights.b": 0.6, "weights.c": 0.6}, symbol="BTC")
        with refused(ValidationError) as refusal:  # and one that sets some, with the rest from below
            self.set(store, {"weights.a": 0.95}, symbol="ETH", regime="trend")
        refusal.says("in {'symbol': 'ETH', 'regime': 'trend'}", "1.46")
        with refused(ValidationError) as refusal:  # and a base value, in each context that it reaches
            self.set(store, {"weights.c": 0.59})
        refusal.says("in {'symbol': 'ETH'}", "1.41")
        assert store.revision == 1

    def test_a_number_stays_a_number_and_keeps_its_decimals(self) -> None:
        store = self.store()
        result = self.set(store, {"weights.a": 1, "weights.b": 0, "weights.c": 0.30001}, symbol="BTC")
        assert repr([change.new for change in result.changes]) == "[1.0, 0.0, 0.3]"
        assert (result.changes[2].requested, result.changes[2].bound_by) == (0.30001, "decimals")
        assert repr(store.get("weights.a", symbol="BTC")) == "1.0"

    def test_clamping_says_what_bound_it(self) -> None:
        store = self.store()
        with store.transaction(author="contract") as tx:
            tx.propose("gate", {"trades": 1000}, on_violation="clamp")
        change = tx.commit_result.changes[0]
        assert (change.requested, change.new, change.bound_by) == (1000, 500, "maximum")
        recorded = store.history("gate.trades")[-1].changes[0]
        assert (recorded.requested, recorded.new, recorded.bound_by) == (1000, 500, "maximum")

    def test_a_projection_is_exact_and_says_what_bound_it(self) -> None:
        store = self.store()
        with store.transaction(author="contract") as tx:
            tx.propose("weights", {"a": 0.9, "b": 0.9}, on_violation="project")
            assert tx["weights.a"] < 0.9
        changes = {change.key: change for change in tx.commit_result.changes}
        weights = [store.get(f"weights.{name}") for name in "abc"]
        assert round(sum(weights), 4) <= 1.4 and changes["weights.a"].requested == 0.9
        assert "sum of a, b, c" in str(changes["weights.a"].bound_by)
        assert store.history("weights.a")[-1].changes[0] == changes["weights.a"]

    # -- who may write ----------------------------------------------------------------------------

    def test_a_freeze_is_obeyed_by_all_until_it_ends(self) -> None:
        mine, theirs = self.stores()
        mine.freeze("gate", author="person", reason="it loses money")
        assert theirs.get("gate.trades") == 30
        with refused(ValidationError) as refusal:
            self.set(theirs, {"gate.trades": 40})
        refusal.says(
            "`gate.*` is frozen by person", "it loses money", "Nothing was written; revision 0 stands."
        )
        assert refusal.error.broken[0].rule == "freeze"
        self.set(theirs, {"weights.a": 0.6})
        assert [freeze.pattern for freeze in theirs.freezes()] == ["gate.*"]
        theirs.unfreeze("gate", author="person")
        self.set(mine, {"gate.trades": 40})
        assert (mine.freezes(), theirs.get("gate.trades"), theirs.revision) == ((), 40, 2)

    def test_a_refusal_is_recorded_and_takes_no_revision(self) -> None:
        mine, theirs = self.stores()
        with refused(ValidationError):
            self.set(mine, {"gate.trades": 1000})
        assert [entry.kind for entry in theirs.history()] == ["external"]
        refusal = theirs.history("gate.trades", refused=True)[-1]
        assert (refusal.kind, refusal.revision, refusal.changes) == ("refusal", 0, ())
        broken = refusal.details["violations"][0]
        assert (broken["key"], broken["rule"], broken["requested"]) == ("gate.trades", "maximum", 1000)

    def test_a_forced_change_needs_a_reason_and_shows_itself(self) -> None:
        mine, theirs = self.stores()
        mine.freeze("*", author="person", reason="night")
        with refused(ValidationError) as refusal, mine.transaction(author="person", force=True) as tx:
            tx["gate.trades"] = 40
        refusal.says("needs a reason")
        with mine.transaction(author="person", force=True, reason="I know better") as tx:
            tx["gate.trades"] = 40
        entry = theirs.history()[-1]
        assert (entry.details, entry.changes[0].overrode) == ({"forced": True}, ("freeze",))

    def test_an_approval_records_what_stands(self) -> None:
        store = self.store()
        self.set(store, {"weights.a": 0.6})
        entry = store.approve("weights.a", author="person", reason="it earned it")
        assert (entry.kind, entry.revision) == ("approve", 1)
        assert entry.details["baselines"] == [{"key": "weights.a", "value": 0.6}]

    def test_what_changes_nothing_commits_nothing(self) -> None:
        store = self.store()
        self.set(store, {"gate.trades": 40})
        entries = len(store.history())
        same = {"gate.trades": 40, "gate.ladder": [(0.5, 2.0), (0.2, 1.0)], "weights.a": 0.5}
        result = self.set(store, same)
        assert (result.revision, result.changes) == (1, ())
        with store.transaction(author="contract") as tx:
            tx.remove("weights.c", symbol="BTC")  # there is none
        assert tx.commit_result.changes == ()
        assert (store.revision, len(store.history())) == (1, entries)

    def test_a_dry_run_judges_and_writes_nothing(self) -> None:
        mine, theirs = self.stores()
        with mine.transaction(author="contract", dry_run=True) as tx:
            tx["gate.trades"] = 40
        assert tx.commit_result.dry_run
        assert tx.commit_result.changes == (Change("gate.trades", 30, 40, {}, 40),)
        assert (mine.get("gate.trades"), theirs.get("gate.trades"), mine.revision) == (30, 30, 0)
        with refused(ValidationError), mine.transaction(author="contract", dry_run=True) as tx:
            tx["gate.trades"] = 1000

    def test_the_expected_revision_must_stand(self) -> None:
        mine, theirs = self.stores()
        self.set(theirs, {"gate.trades": 40})
        stale = mine.transaction(author="contract", expected_revision=0)
        with refused(ConflictError) as refusal, stale as tx:
            tx["gate.trades"] = 50
        refusal.says("0", "1 stands", "Nothing was written")
        with mine.transaction(author="contract", expected_revision=1) as tx:
            tx["gate.trades"] = 50
        assert theirs.get("gate.trades") == 50

    def test_revisions_have_no_gaps(self) -> None:
        mine, theirs = self.stores()
        for number, store in enumerate([mine, theirs, mine, theirs], start=1):
            with refused(ValidationError):
                self.set(store, {"gate.trades": 0})
            with refused(ZeroDivisionError), store.transaction(author="contract") as tx:
                tx["gate.trades"] = 1 // 0
            assert self.set(store, {"gate.trades": 40 + number}).revision == number
        assert [entry.revision for entry in mine.history()] == [0, 1, 2, 3, 4]
        assert len({entry.id for entry in mine.history()}) == 5

    def test_a_transaction_within_a_transaction_is_refused(self) -> None:
        store = self.store()
        with store.transaction(author="contract") as tx:
            inner = store.transaction(author="contract", timeout_s=0.1)
            with refused(LockTimeoutError) as refusal, inner:
                pass
            refusal.says("transaction open", "Nothing was written")
            tx["gate.trades"] = 40
        assert store.get("gate.trades") == 40

    def test_waiting_for_another_writer_ends(self) -> None:
        mine, theirs = self.stores()
        outcome: list[BaseException] = []

        def wait() -> None:
            try:
                with theirs.transaction(author="contract", timeout_s=0.1):
                    pass
            except LockTimeoutError as error:
                outcome.append(error)

        with mine.transaction(author="contract") as tx:
            waiter = threading.Thread(target=wait)
            waiter.start()
            waiter.join(10)
            tx["gate.trades"] = 40
        assert len(outcome) == 1
        assert "Nothing was written" in str(outcome[0])

    def test_no_increment_is_lost(self) -> None:
        mine, theirs = self.stores()

        def climb(store: ParamStore) -> None:
            for _ in range(20):
                with store.transaction(author="contract", timeout_s=30.0) as tx:
                    tx["gate.trades"] += 1

        threads = [threading.Thread(target=climb, args=(store,)) for store in (mine, theirs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert mine.get("gate.trades") == theirs.get("gate.trades") == 70
        assert [entry.revision for entry in theirs.history()] == list(range(41))
