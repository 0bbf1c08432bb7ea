"""The second half of the contract that ``paramstore.testing`` publishes: contexts, the past, freshness."""

from __future__ import annotations

import json

from paramstore._contract import KEYS, ContractTools, refused
from paramstore._model import ABSENT, Change
from paramstore._store import ParamStore
from paramstore.errors import (
    ContextError,
    ReadOnlyError,
    UnknownParamError,
    UnknownRevisionError,
    ValidationError,
)


class PastContract(ContractTools):
    """What stays known of earlier revisions, and how soon others see a new one."""

    # -- contexts ---------------------------------------------------------------------------------

    def test_a_value_for_a_context_comes_changes_and_goes(self) -> None:
        mine, theirs = self.stores()
        self.set(mine, {"weights.a": 0.6}, symbol="BTC")
        assert (theirs.get("weights.a", symbol="BTC"), theirs.get("weights.a")) == (0.6, 0.5)
        self.set(mine, {"weights.a": 0.61}, symbol="BTC")
        assert theirs.get("weights.a", symbol="BTC") == 0.61
        with mine.transaction(author="contract") as tx:
            tx.remove("weights.a", symbol="BTC")
        assert theirs.get("weights.a", symbol="BTC") == 0.5
        changes = [(c.old, c.new, dict(c.context)) for e in mine.history()[1:] for c in e.changes]
        at = {"symbol": "BTC"}
        assert changes == [(ABSENT, 0.6, at), (0.6, 0.61, at), (0.61, ABSENT, at)]

    def test_a_removed_context_leaves_its_neighbours(self) -> None:
        mine, theirs = self.stores()
        with mine.transaction(author="contract") as tx:
            tx.remove("weights.a", regime="trend")
        self.set(mine, {"weights.b": 0.32}, symbol="ETH")
        for store in (mine, theirs, ParamStore(backend=self.another_view(mine._open()), environ={})):
            assert store.get("weights.a", symbol="ETH") == 0.51
            assert store.get("weights.b", symbol="ETH") == 0.32
            assert store.get("weights.a", symbol="ETH", regime="trend") == 0.53
            assert store.get("weights.a", regime="trend") == 0.5

    def test_a_namespace_without_the_dimension_has_no_value_for_it(self) -> None:
        store = self.store()
        with refused(ValidationError) as refusal:
            self.set(store, {"gate.trades": 40}, symbol="BTC")
        refusal.says("`gate`", "`symbol`", "Nothing was written")
        with refused(ContextError):
            self.set(store, {"weights.a": 0.5}, colour="red")
        with refused(ValidationError), store.transaction(author="contract") as tx:
            tx.remove("weights.a")
        assert store.revision == 0

    # -- the past ---------------------------------------------------------------------------------

    def test_history_keeps_who_why_and_what(self) -> None:
        mine, theirs = self.stores()
        evidence = {
            "samples": 812, "metric": "ev_bps", "before": 1.2, "after": 1.9, "by": {"BTC": [0.1, None, True]},
            "note": "größer → besser \n\"'\\", "big": 2**60, "tiny": 5e-324, "third": 1 / 3,
        }  # fmt: skip
        with mine.transaction(author="learner", reason="7-day\nvalue", evidence=evidence) as tx:
            tx["gate.trades"] = 40
        for store in (mine, theirs):
            entry = store.history()[-1]
            assert (entry.kind, entry.author, entry.reason) == ("commit", "learner", "7-day\nvalue")
            assert json.dumps(dict(entry.evidence)) == json.dumps(evidence)
            assert entry.changes == (Change("gate.trades", 30, 40, {}, 40),)
            assert entry.time.endswith("Z") and len(entry.time) == len("2026-01-31T12:00:00.000000Z")
        times = [entry.time for entry in mine.history()]
        assert times == sorted(times)

    def test_words_that_cannot_be_recorded_are_refused(self) -> None:
        store = self.store()
        for evidence in ({"x": float("nan")}, {"x": object()}, {"x": {1, 2}}):
            wrong = store.transaction(author="contract", evidence=evidence)
            with refused(ValidationError) as refusal, wrong as tx:
                tx["gate.trades"] = 40
            refusal.says("evidence", "Nothing was written; revision 0 stands.")
        with refused(ValidationError), store.transaction(author=" ") as tx:
            tx["gate.trades"] = 40
        assert store.get("gate.trades") == 30

    def test_history_of_one_key(self) -> None:
        store = self.store()
        self.set(store, {"gate.trades": 40})
        self.set(store, {"weights.a": 0.6, "weights.b": 0.2})
        assert [e.revision for e in store.history("gate.trades")] == [0, 1]
        assert [e.revision for e in store.history("weights.*")] == [0, 2]
        assert [c.key for e in store.history("weights.b")[1:] for c in e.changes] == ["weights.b"]
        with refused(UnknownParamError):
            store.history("gate.trade")

    def test_any_revision_can_be_read_again(self) -> None:
        mine, theirs = self.stores()
        self.set(mine, {"gate.trades": 40})
        self.set(mine, {"weights.a": 0.6}, symbol="BTC")
        self.set(mine, {"gate.ladder": [(0.4, 3.0)]})
        for store in (mine, theirs):
            past = [store.as_of(revision) for revision in range(4)]
            assert [p["gate.trades"] for p in past] == [30, 40, 40, 40]
            assert [p.at(symbol="BTC").get("weights.a") for p in past] == [0.5, 0.5, 0.6, 0.6]
            assert [repr(p["gate.ladder"]) for p in past[2:]] == ["[(0.5, 2.0), (0.2, 1.0)]", "[(0.4, 3.0)]"]
            assert past[1].at(symbol="ETH", regime="trend").get("weights.a") == 0.53
            assert [p.revision for p in past] == [0, 1, 2, 3]
            assert store.as_of(store.history()[2].time).revision == 2
        for unknown in (4, -1, "soon", "1999-01-01"):
            with refused(UnknownRevisionError):
                mine.as_of(unknown)

    def test_revisions_can_be_compared(self) -> None:
        store = self.store()
        self.set(store, {"gate.trades": 40})
        self.set(store, {"weights.a": 0.6}, symbol="BTC")
        self.set(store, {"gate.trades": 50})
        at = {"symbol": "BTC"}
        assert {(c.key, c.old, c.new) for c in store.diff(0)} == {
            ("gate.trades", 30, 50), ("weights.a", ABSENT, 0.6),
        }  # fmt: skip
        assert [(c.old, c.new, dict(c.context)) for c in store.diff(1, 2)] == [(ABSENT, 0.6, at)]
        assert [(c.old, c.new, dict(c.context)) for c in store.diff(2, 1)] == [(0.6, ABSENT, at)]
        assert store.diff(3) == store.diff(2, 2) == ()

    def test_rollback_restores_values_in_a_new_revision(self) -> None:
        mine, theirs = self.stores()
        self.set(mine, {"gate.trades": 40, "gate.ladder": [(0.4, 3.0)], "gate.table": {"b": 2}})
        self.set(mine, {"weights.a": 0.6}, symbol="BTC")
        with mine.transaction(author="contract") as tx:
            tx.remove("weights.a", symbol="ETH", regime="trend")
            tx.set("weights.b", 0.35, symbol="ETH")
        result = theirs.rollback(to=0, author="person", reason="it lost money")
        assert result.revision == 4
        assert [e.kind for e in mine.history()] == ["external", "commit", "commit", "commit", "rollback"]
        assert (mine.history()[-1].author, mine.history()[-1].reason) == ("person", "it lost money")
        for store in (mine, theirs):
            p = store.snapshot()
            assert p.revision == 4
            assert repr([p[key] for key in KEYS]) == repr([store.as_of(0)[key] for key in KEYS])
            assert p.at(symbol="BTC").get("weights.a") == 0.5  # what was added is gone
            assert p.at(symbol="ETH", regime="trend").get("weights.a") == 0.53  # what was removed is back
            assert p.at(symbol="ETH").get("weights.b") == 0.31
            assert store.diff(0, 4) == ()
        assert mine.as_of(3)["gate.trades"] == 40  # nothing was forgotten

    def test_rollback_of_some_keys(self) -> None:
        store = self.store()
        self.set(store, {"gate.trades": 40, "gate.on": False})
        store.rollback(to=0, author="person", keys="gate.tr*")
        assert (store.get("gate.trades"), store.get("gate.on")) == (30, False)
        with refused(UnknownParamError):
            store.rollback(to=0, author="person", keys="gate.trade")
        with refused(UnknownRevisionError):
            store.rollback(to=9, author="person")
        assert store.rollback(to=store.revision, author="person").changes == ()
        assert store.revision == 2

    # -- freshness --------------------------------------------------------------------------------

    def test_the_signal_tells_of_a_commit_by_another(self) -> None:
        mine, theirs = self.stores()
        backend = mine._open()
        signal = backend.signal()
        state = backend.load(None)
        assert not signal
        self.set(theirs, {"gate.trades": 40})
        assert signal
        again = backend.signal()
        assert not again
        assert backend.load(state).documents["gate"].values["trades"] == 40
        assert signal and not again

    def test_reads_after_a_commit_by_another_are_fresh_at_once(self) -> None:
        mine, theirs = self.stores()
        bound, section = mine.at(symbol="ETH"), mine.section("gate")
        for number in range(31, 61):
            self.set(theirs, {"gate.trades": number})
            assert mine.get("gate.trades") == number
            self.set(theirs, {"weights.b": number / 100}, symbol="ETH")
            assert bound.get("weights.b") == number / 100
            assert section["trades"] == number
            self.set(theirs, {"gate.ladder": [(number / 100, 1)]})
            assert repr(mine.get("gate.ladder")) == f"[({number / 100}, 1.0)]"

    def test_a_snapshot_never_changes(self) -> None:
        mine, theirs = self.stores()
        p = mine.snapshot()
        digest, bound = p.digest, p.at(symbol="ETH")
        self.set(theirs, {"gate.trades": 40, "weights.a": 0.6, "weights.b": 0.2})
        self.set(theirs, {"weights.b": 0.4}, symbol="ETH")
        assert mine.get("gate.trades") == 40
        assert (p.revision, p["gate.trades"], p.digest, bound.get("weights.b")) == (0, 30, digest, 0.31)
        assert p.at(regime="trend").get("weights.a") == 0.52
        with refused(ReadOnlyError):
            p.values["gate.trades"] = 1

    def test_structured_values_survive_every_way(self) -> None:
        mine, theirs = self.stores()
        self.set(mine, {"gate.ladder": [(0.6, 3), (0.3, 1.5)], "gate.table": {"b": 2, "a": 1.0}})
        expected = "[(0.6, 3.0), (0.3, 1.5)] {'b': 2.0, 'a': 1.0}"
        fresh = ParamStore(backend=self.another_view(mine._open()), environ={})
        for store in (mine, theirs, fresh, mine.as_of(1)):
            assert f"{store.get('gate.ladder')!r} {store.get('gate.table')!r}" == expected
            with refused(ReadOnlyError):
                store.get("gate.ladder").clear()
        with mine.transaction(author="contract") as tx:
            tx["gate.ladder"] = [*tx["gate.ladder"], (0.1, 0.5)]
        assert repr(theirs.get("gate.ladder")) == "[(0.6, 3.0), (0.3, 1.5), (0.1, 0.5)]"
        with refused(ValidationError) as refusal:
            self.set(mine, {"gate.ladder": [(0.6,)]})
        refusal.says("gate.ladder", "Nothing was written; revision 2 stands.")
