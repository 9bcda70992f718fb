"""Bytes that many share."""

from __future__ import annotations

from interleaved import Made, Midway, with_lock

from ocppsync.budget import Budget, Loan


def test_no_more_is_taken_than_there_is_unless_it_must() -> None:
    budget = Budget(100)
    assert [budget.take(60), budget.take(41), budget.take(41, must=True), budget.take(0)] == [True, False, True, False]
    budget.give(101)
    assert [budget.take(101), budget.take(100)] == [False, True]
    assert repr(budget) == "<Budget 100 of 100 bytes>"


def test_there_may_be_any_number() -> None:
    budget = Budget()
    assert budget.take(10**12)
    assert repr(budget) == "<Budget 1000000000000 of None bytes>"


def test_only_what_is_not_free_is_borrowed() -> None:
    budget = Budget(50)
    loan = Loan(budget, free=10)
    borrowed = []
    for used in (5, 10, 11, 60, 61, 40, 10, 0):
        borrowed.append((loan.cover(used), budget.used))
    assert borrowed == [(True, 0), (True, 0), (True, 1), (True, 50), (False, 50), (True, 30), (True, 0), (True, 0)]


def test_what_must_be_borrowed_is_given_back() -> None:
    budget = Budget(50)
    loan, other = Loan(budget, 10), Loan(budget, 10)
    assert [loan.cover(100, must=True), other.cover(10), other.cover(11)] == [True, True, False]
    assert repr(loan) == "<Loan 90 bytes>"
    assert [loan.cover(0), other.cover(60)] == [True, True]
    assert budget.used == 50


# Two threads at once.


def test_two_at_once_do_not_get_the_same_bytes() -> None:
    budget, size, made = Budget(100), Midway(60), Made()
    size.happen = made.let_in(with_lock(budget), budget.take, 60)
    assert [budget.take(size), made.result()] == [True, False]
    assert budget.used == 60


def test_two_at_once_both_give_back() -> None:
    budget, size, made = Budget(100), Midway(40), Made()
    budget.take(100)
    size.happen = made.let_in(with_lock(budget), budget.give, 60)
    budget.give(size)
    made.result()
    assert budget.used == 0
