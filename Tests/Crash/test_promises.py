"""The check itself, on histories made by hand: each rule is broken once, and each excuse is taken once."""

import pytest

import promises


class History:
    """One flow and one reader of it."""

    def __init__(self, sent=10, acknowledged=10, exactly_once=False, batch=0):
        self.promises = promises.Promises()
        self.flow = self.promises.flow("flow", exactly_once, batch)
        self.losses = []
        self.reading = self.promises.reading("reader", self.flow, exactly_once, self.losses)
        for _ in range(sent):
            self.flow.send()
        for number in range(acknowledged):
            self.flow.acknowledge(number)

    def arrive(self, *numbers, is_flagged=False, connection=1):
        for number in numbers:
            self.reading.arrive(promises.body(0, number), is_flagged, connection)

    def settle(self, *numbers, at):
        for number in numbers:
            self.reading.settle(number, at)

    def broken(self):
        self.promises.finish()
        return self.promises.broken


@pytest.fixture
def history():
    return History()


def test_everything_once_is_good(history):
    history.arrive(*range(10))
    assert history.reading.is_complete() and history.broken() == {}


def test_acknowledged_and_lost(history):
    history.arrive(*range(4), *range(5, 10))
    assert not history.reading.is_complete()
    assert history.broken() == {"acknowledged and lost": 1}


def test_the_last_ones_are_missed_too(history):
    history.arrive(*range(7))
    assert history.broken() == {"acknowledged and lost": 3}


def test_what_was_not_acknowledged_may_be_there_or_not():
    for there in (5, 7, 10):
        history = History(acknowledged=5)
        history.arrive(*range(there))
        assert history.reading.is_complete() and history.broken() == {}


def test_never_sent(history):
    history.arrive(*range(11))
    assert history.broken() == {"never sent": 1}


def test_a_damaged_body(history):
    history.arrive(*range(9))
    history.reading.arrive(promises.body(0, 9)[:-1] + b"?", False, 1)
    assert history.broken() == {"a damaged body": 1}


def test_out_of_order(history):
    history.arrive(0, 1, 3, 2, *range(4, 10))
    assert history.broken() == {"out of order": 1}


def test_a_redelivery_in_its_order_is_no_disorder(history):
    history.arrive(*range(5))
    history.arrive(*range(3, 5), is_flagged=True, connection=2)
    history.arrive(*range(5, 10), connection=2)
    assert history.broken() == {} and history.reading.redelivered == 2


def test_a_redelivery_without_its_flag(history):
    history.arrive(*range(10))
    history.arrive(9, connection=2)
    assert history.broken() == {"repeated, not flagged": 1}


def test_a_redelivery_on_one_connection(history):
    history.arrive(*range(10))
    history.arrive(9, is_flagged=True)
    assert history.broken() == {"repeated, on one connection": 1}


def test_repeated_though_the_consumer_acknowledged_long_before(history):
    history.arrive(*range(10))
    history.settle(9, at=100)
    history.promises.kills.append(100 + promises.GRACE + 1)
    history.arrive(9, is_flagged=True, connection=2)
    assert history.broken() == {"repeated, acknowledged before": 1}


@pytest.mark.parametrize("cause", ["kills", "losses"])
def test_an_acknowledgement_just_before_a_kill_may_be_lost(history, cause):
    history.arrive(*range(10))
    history.settle(9, at=100)
    (history.promises.kills if cause == "kills" else history.losses).extend([50, 100.5])
    history.arrive(9, is_flagged=True, connection=2)
    assert history.broken() == {}


def test_acknowledged_again_and_repeated_again(history):
    history.promises.kills.extend([100.5, 200])
    history.arrive(*range(10))
    history.settle(9, at=100)
    history.arrive(9, is_flagged=True, connection=2)
    history.settle(9, at=150)
    history.arrive(9, is_flagged=True, connection=3)
    assert history.broken() == {"repeated, acknowledged before": 1}


def test_a_copy_for_each_time_it_was_sent_again(history):
    history.flow.repeat(9)
    history.arrive(*range(10), 9)
    assert history.broken() == {} and history.reading.copies == 1
    history.arrive(9)
    assert history.broken() == {"repeated, on one connection": 1}


def test_two_copies_are_redelivered_once_each(history):
    history.flow.repeat(9)
    history.arrive(*range(10), 9)
    history.arrive(9, 9, is_flagged=True, connection=2)
    assert history.broken() == {} and history.reading.redelivered == 2
    history.arrive(9, is_flagged=True, connection=2)
    assert history.broken() == {"repeated, on one connection": 1}


def test_of_two_copies_the_first_may_be_acknowledged_before_the_second_comes_again(history):
    history.flow.repeat(9)
    history.arrive(*range(10), 9)
    history.arrive(9, is_flagged=True, connection=2)
    history.settle(9, at=100)
    history.arrive(9, is_flagged=True, connection=2)
    assert history.broken() == {}


def test_exactly_once_knows_no_excuse():
    history = History(exactly_once=True)
    history.flow.repeat(9)
    history.promises.kills.append(100)
    history.arrive(*range(10))
    history.arrive(9, is_flagged=True, connection=2)
    assert history.broken() == {"not exactly once": 1}


@pytest.mark.parametrize("there, committed, broken", [(20, 20, {}), (10, 10, {}), (20, 10, {}), (13, 10, {"a part of a transaction": 1}), (7, 0, {"a part of a transaction": 1})])
def test_transactions_are_whole(there, committed, broken):
    history = History(sent=20, acknowledged=committed, batch=10)
    history.arrive(*range(there))
    assert history.broken() == broken


def test_a_lost_part_of_a_committed_transaction():
    history = History(sent=20, acknowledged=20, batch=10)
    history.arrive(*range(19))
    assert history.broken() == {"acknowledged and lost": 1, "a part of a transaction": 1}


def test_bodies_differ_by_flow_and_number():
    bodies = [promises.body(flow, number) for flow in range(6) for number in range(300)]
    assert len(set(bodies)) == len(bodies) and {len(body) > 1000 for body in bodies} == {True, False}
