"""The simulation of many machines: the same for the same seed, nobody lost, and what each wait and each relay is for shows."""

from __future__ import annotations

import pytest

from benchmarks.etcd_scale import fitted
from benchmarks.etcd_simulation import (
    AGAIN,
    LAYOUTS,
    WAITINGS,
    Layout,
    by_second,
    check_rate,
    commits,
    fan_out,
    first_asks,
    held_back,
    largest_window,
    levels,
    longest_wait,
    storms,
)  # fmt: skip

MANY = 1_000
HOW = {how.name: how for how in WAITINGS}


def share(name: str) -> float:
    return largest_window(first_asks(MANY, 600.0, HOW[name])) / MANY


def test_it_is_the_same_for_the_same_seed() -> None:
    assert first_asks(50, 60.0, AGAIN, seed=1) == first_asks(50, 60.0, AGAIN, seed=1)
    assert first_asks(50, 60.0, AGAIN, seed=1) != first_asks(50, 60.0, AGAIN, seed=2)
    assert storms(50, 60.0) == storms(50, 60.0)
    assert commits() == commits()


@pytest.mark.parametrize("how", WAITINGS, ids=lambda how: how.name)
def test_every_machine_comes_back_once_and_within_its_longest_pause(how: object) -> None:
    asks = first_asks(MANY, 600.0, how)  # type: ignore[arg-type]
    assert len(asks) == sum(by_second(asks).values()) == MANY
    assert min(asks) >= 0
    assert max(asks) <= 1.5 * how.longest_s  # type: ignore[attr-defined]


def test_without_jitter_all_come_at_one_moment() -> None:
    assert share("the same without jitter") == 1.0
    assert share("as it is: one try for each pause, no check meanwhile") < 0.05


def test_longer_pauses_spread_more() -> None:
    assert (
        share("the same, with pauses up to 30 s")
        < share("as it is: one try for each pause, no check meanwhile")
        < share("tries again in each call, and checks meanwhile")
    )


def test_a_server_that_accepts_before_it_answers_gathers_them() -> None:
    asks = first_asks(MANY, 600.0, AGAIN)
    assert largest_window(held_back(asks, 1.0)) > largest_window(asks)
    assert min(held_back(asks, 1.0)) == 1.0


def test_waits_are_those_of_one_queue() -> None:
    assert longest_wait([0.0, 0.0, 0.0], 0.1) == pytest.approx(0.3)
    assert longest_wait([0.0, 1.0, 2.0], 0.1) == pytest.approx(0.1)


def test_a_tree_has_every_machine_once() -> None:
    assert levels(111, 10) == [10, 100, 1]
    assert sum(levels(10_000, 20)) == 10_000
    assert levels(5, 10) == [5]


def test_relays_and_texts_left_out_send_less() -> None:
    whole, *_ = LAYOUTS
    all_of_it = fan_out(10_000, 2_000, whole)
    assert fan_out(10_000, 2_000, Layout("", texts=False)).out < all_of_it.out / 20
    relayed = fan_out(10_000, 2_000, Layout("", fan=100))
    assert relayed.out == pytest.approx(all_of_it.out / 100)
    assert relayed.hops == 2
    assert relayed.last_s[1] < all_of_it.last_s[1]


def test_twice_the_machines_ask_and_cost_twice() -> None:
    assert check_rate(20_000, 2.0) == 2 * check_rate(10_000, 2.0)
    assert check_rate(15_000, 2.0) == 10_000
    one, two = (fan_out(count, 2_000, LAYOUTS[0]) for count in (5_000, 10_000))
    assert two.out == 2 * one.out
    assert two.last_s[0] == pytest.approx(2 * one.last_s[0])


def test_a_straight_line_is_found() -> None:
    base, each = fitted([1, 10, 50, 200], [5.0, 23.0, 103.0, 403.0])
    assert [base, each] == pytest.approx([3.0, 2.0])
