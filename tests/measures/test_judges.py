"""Judges: how they are declared, named and made; what regex, contains and python say; the order in which replies are judged."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from pytest_steer.core import registry
from pytest_steer.core.errors import MeasurementError, SteerError
from pytest_steer.core.parameters import Param
from pytest_steer.measures.judges import (
    Contains,
    Exchange,
    Judge,
    Judgement,
    Regex,
    judge,
    judged,
    judges_schema,
    make_judge,
)
from pytest_steer.measures.judges.judged import blind_order


def exchanges(*replies: str) -> list[Exchange]:
    return [Exchange(("How are you?",), reply, id="q") for reply in replies]


def verdicts(judge: Judge, *replies: str) -> list[bool | None]:
    return [one.accepted for one in judge.judge(exchanges(*replies))]


# --- regex and contains -------------------------------------------------------------------------------------


def test_regex_finds_anywhere():
    assert verdicts(Regex(r"\byes\b"), "oh yes, yes", "Yes", "yesterday") == [True, False, False]
    [found] = Regex("y.s").judge(exchanges("oh yes"))
    assert found.said == "yes"


def test_regex_takes_flags():
    assert verdicts(Regex("^yes$", ["ignorecase", "multiline"]), "no\nYES\nno", "no YES") == [True, False]
    assert verdicts(Regex("a.b", flags=("dotall",)), "a\nb") == [True]
    assert verdicts(Regex("a.b"), "a\nb") == [False]


def test_an_endless_regex_is_a_missing_judgement(monkeypatch):
    monkeypatch.setattr("pytest_steer.measures.judges.regex.PATIENCE", 0.05)
    [found] = Regex("(a|aa)+$").judge(exchanges("a" * 60 + "b"))
    assert found.accepted is None
    assert found.missing == "the expression takes more than 0.05 s over this reply"


def test_contains_any_all_or_none_of_several_texts():
    replies = ("I am SORRY", "sorry, I cannot", "fine")
    assert verdicts(Contains("sorry"), *replies) == [True, True, False]
    assert verdicts(Contains("sorry", ignore_case=False), *replies) == [False, True, False]
    assert verdicts(Contains(["sorry", "cannot"], match="all"), *replies) == [False, True, False]
    assert verdicts(Contains(["sorry", "cannot"], match="none"), *replies) == [False, False, True]
    assert verdicts(Contains("STRASSE"), "die Straße") == [True]


# --- declared and made --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"regex": "("}, "judge: the judge 'regex': '(' is not a regular expression (missing ) at position 1)"),
        ({"regex": {"patern": "a"}}, "judge: the judge 'regex' has no parameter 'patern': did you mean 'pattern'? There are pattern, flags"),
        ({"regex": {"flags": ["ignorecase"]}}, "judge: the judge 'regex': 'pattern' is missing. Add `pattern: "),
        ({"regex": {"pattern": "a", "flags": ["icase"]}}, "judge: the judge 'regex': flags[0] must be ignorecase, multiline or dotall, but"),
        ({"contains": []}, "judge: the judge 'contains': texts the list is empty"),
        ({"regx": "a"}, "judge: there is no judge 'regx': did you mean 'regex'? There are "),
        ({}, "judge: a judge is one key with its settings, `{regex: ...}`, not {}. There are "),
        ({"regex": "a", "contains": "b"}, "judge: a judge is one key with its settings"),
    ],
)  # fmt: skip
def test_a_wrong_judge_is_named_with_its_place(spec, message):
    with pytest.raises(SteerError) as caught:
        make_judge(spec)
    assert str(caught.value).startswith(message)


def test_a_judge_is_made_of_its_entry_in_a_claim():
    assert make_judge({"regex": "a"}) == Regex("a")
    assert make_judge({"regex": {"pattern": "a", "flags": ["dotall"]}}) == Regex("a", ("dotall",))
    mine = Contains("a")
    assert make_judge(mine) is mine


def test_the_schema_takes_what_make_judge_takes():
    valid = Draft202012Validator(judges_schema()).is_valid
    assert all(map(valid, [{"regex": "a"}, {"regex": {"pattern": "a"}}, {"contains": ["a", "b"]}]))
    assert not any(map(valid, [{}, {"regex": "a", "contains": "b"}, {"regex": {"patern": "a"}}, {"regx": "a"}, "regex"]))
    Draft202012Validator.check_schema(judges_schema())


@pytest.fixture
def polite():
    """A judge of somebody else's, registered for one test."""

    @judge("polite", title="Politeness", main="words")
    @dataclass(frozen=True)
    class Polite:
        """The reply has a polite word."""

        words: Annotated[str, Param("Polite words.", example="please")]
        base: Path = Path()

        def judge(self, exchanges):
            return [Judgement(self.words in one.reply) for one in exchanges]

        def record(self):
            return {"judge": "polite", "words": self.words}

    yield Polite
    registry.forget("judge", "polite")


def test_a_judge_of_others_is_made_and_fills_in_its_folder(polite):
    made = make_judge({"polite": "please"}, base=Path("here"))
    assert (made.words, made.base) == ("please", Path("here"))
    assert "polite" in judges_schema()["properties"]
    assert [one.accepted for one in judged(made, exchanges("yes please", "no"), seed=0)] == [True, False]


def test_what_is_no_judge_is_not_registered():
    with pytest.raises(SteerError, match=r"needs a method record\(self\)"):

        @judge("half", title="Half")
        @dataclass(frozen=True)
        class Half:
            def judge(self, exchanges):
                return []

    with pytest.raises(SteerError, match="is declared by a dataclass"):

        @judge("bare", title="Bare")
        class Bare:
            pass

    assert not {"half", "bare"} & set(registry.names("judge"))


def test_a_judgement_is_a_verdict_or_a_reason():
    with pytest.raises(SteerError, match="either a verdict"):
        Judgement(None)
    with pytest.raises(SteerError, match="either a verdict"):
        Judgement(True, missing="why")
    with pytest.raises(SteerError, match="True, False or None, not 1"):
        Judgement(1)
    for score in (math.nan, math.inf, "7"):
        with pytest.raises(SteerError, match="`score` is a finite number"):
            Judgement(True, score=score)


def test_words_that_no_file_can_hold_are_replaced():
    assert Judgement(True, said="so \ud83d").said == "so ?"


# --- the order ----------------------------------------------------------------------------------------------


def pairs(n: int) -> list[Exchange]:
    return [Exchange((f"question {at}",), f"{side} {at}", id=f"{at}") for side in ("base", "steered") for at in range(n)]


@pytest.mark.parametrize("n", [20, 21])
def test_base_comes_first_in_half_of_the_pairs(n):
    for seed in range(20):
        order = blind_order([one.id for one in pairs(n)], seed)
        assert sorted(order) == list(range(2 * n))
        base_first = sum(order.index(at) < order.index(at + n) for at in range(n))
        assert base_first in (n // 2, n - n // 2)
        assert sum(at < n for at in order[:n]) not in (0, n)  # one side does not come as a block


def test_either_side_is_first_in_each_pair_for_some_seed():
    """The balance is not bought by a fixed pattern."""
    n = 8
    first = np.array(
        [
            [(o := blind_order([one.id for one in pairs(n)], seed)).index(at) < o.index(at + n) for at in range(n)]
            for seed in range(400)
        ]
    )
    assert np.all(abs(first.mean(0) - 0.5) < 4 * 0.5 / math.sqrt(400))
    # Knowing one pair says nothing of another one, but that half of them are the other way round.
    together = np.corrcoef(first.T)[~np.eye(n, dtype=bool)]
    assert abs(together.mean() + 1 / (n - 1)) < 0.02


def test_several_samples_a_side_are_balanced_too():
    groups = [str(at) for at in range(10) for _ in range(6)]  # three base, then three steered each
    order = blind_order(groups, 3)
    place = {index: at for at, index in enumerate(order)}
    first = [
        place[6 * group + base] < place[6 * group + 3 + steered]
        for group in range(10)
        for base in range(3)
        for steered in range(3)
    ]
    assert sum(first) == 45


def test_the_order_follows_the_seed():
    groups = [one.id for one in pairs(10)]
    assert blind_order(groups, 1) == blind_order(groups, 1) != blind_order(groups, 2)


class Noting:
    """A judge that notes what it was shown."""

    def __init__(self, says=lambda at, exchange: Judgement(True)):
        self.seen: list[Exchange] = []
        self.says = says
        self.closed = False

    def judge(self, exchanges):
        try:
            for one in exchanges:
                self.seen.append(one)
                yield self.says(len(self.seen) - 1, one)
        finally:
            self.closed = True

    def record(self):
        return {"judge": "noting"}


def test_the_judge_sees_each_reply_once_and_no_id():
    given = pairs(10)
    noting = Noting(lambda at, one: Judgement("base" in one.reply))
    found = judged(noting, given, seed=0)
    assert [one.accepted for one in found] == [True] * 10 + [False] * 10
    assert {one.id for one in noting.seen} == {""}
    assert Counter((one.prompt, one.reply) for one in noting.seen) == Counter((one.prompt, one.reply) for one in given)
    assert [one.reply for one in noting.seen] != [one.reply for one in given]


def test_an_order_biased_judge_gives_both_sides_the_same():
    """It accepts the first reply to each prompt that it sees."""
    seen: set[tuple[str, ...]] = set()

    def first(at, one):
        known = one.prompt in seen
        seen.add(one.prompt)
        return Judgement(not known)

    found = judged(Noting(first), pairs(30), seed=5)
    assert sum(one.accepted for one in found[:30]) == sum(one.accepted for one in found[30:]) == 15


def test_equal_replies_to_equal_prompts_share_a_judgement():
    given = [Exchange(("q",), "a", id="1"), Exchange(("q",), "a", id="1"), Exchange(("r",), "a", id="2")]
    noting = Noting(lambda at, one: Judgement(True, score=float(at)))
    first, second, third = judged(noting, given, seed=0)
    assert len(noting.seen) == 2
    assert first == second != third


# --- missing judgements -------------------------------------------------------------------------------------


def missing_for(*replies: str):
    return Noting(lambda at, one: Judgement.none("it is tired") if one.reply in replies else Judgement(True))


def test_five_per_cent_may_be_missing():
    given = pairs(10)  # 20 replies
    found = judged(missing_for("base 3"), given, seed=0)
    assert [one.accepted for one in found].count(None) == 1
    assert found[3] == Judgement(None, missing="it is tired")


def test_more_than_five_per_cent_missing_is_an_error_that_says_why():
    judge = missing_for("base 3", "steered 7")
    with pytest.raises(MeasurementError) as caught:
        judged(judge, pairs(10), seed=1)
    asked = len(judge.seen)
    assert str(caught.value) == (
        f"the judge 'noting' gave no judgement for 2 of the {asked} replies that it was given (of 20), and at most 5 % of all may be "
        "missing: 2 x it is tired"
    )
    assert asked < 20
    assert judge.closed


def test_a_judge_without_any_judgement_is_an_error_and_not_asked_on():
    judge = Noting(lambda at, one: Judgement.none(f"reason {at}"))
    with pytest.raises(
        MeasurementError, match=r"for 6 of the 6 .*: 1 x reason 0; 1 x reason 1; 1 x reason 2; and 3 other reasons$"
    ):
        judged(judge, pairs(50), seed=0)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda n: [Judgement(True)] * (n - 1), "gave 3 judgements for 4 exchanges: give one for each"),
        (lambda n: [Judgement(True)] * (n + 1), "gave more judgements for 4 exchanges"),
        (lambda n: [True] * n, "gave bool in the place of a Judgement"),
        (lambda n: None, "gave NoneType, not one Judgement per exchange"),
    ],
)
def test_a_judge_that_does_not_judge_each_reply_is_an_error(answers, message):
    class Wrong:
        def judge(self, exchanges):
            return answers(len(exchanges))

        def record(self):
            return {}

    with pytest.raises(SteerError, match=f"Wrong.judge.. {message}"):
        judged(Wrong(), pairs(2), seed=0)


def test_no_replies_are_an_error():
    with pytest.raises(SteerError, match="there are no replies to judge"):
        judged(Contains("a"), [], seed=0)
