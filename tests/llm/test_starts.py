"""Which start of an answer is kept, and what is said of it."""

import numpy as np
import pytest

from rulesel.errors import ModelError
from rulesel.llm.fake_tokens import ByteTokenizer
from rulesel.llm.starts import STARTS, Tried, best, candidates, table, tried
from rulesel.llm.tokens import fitting

DIGITS = list("012345")


def test_the_largest_tenth_percentile_wins_and_near_ties_go_to_the_earlier():
    found = [Tried("", 0.10), Tried("Rating: ", 0.79), Tried("Rating:", 0.1), Tried("Score: ", 0.805), Tried("x", 0.0)]
    assert best(found).start == "Rating: "
    assert best([*found, Tried("Mark: ", 0.83)]).start == "Mark: "
    assert best([Tried("", 0.96), Tried("Rating: ", 0.979)]).start == ""


def test_a_start_is_judged_by_its_worst_tenth_and_an_unknown_mass_is_none():
    one = tried("Rating: ", np.array([0.9] * 8 + [0.1, np.nan]), np.full(10, 0.05))
    assert one.mass == pytest.approx(0.09)
    assert one.mean == pytest.approx(0.73)
    assert one.beyond == pytest.approx(0.05)


def test_where_no_start_helps_the_table_is_the_message():
    found = [Tried("", 0.05, 0.13), Tried("Score: ", 0.49, 0.6, 0.13), Tried("Rating:", why="no single token")]
    with pytest.raises(ModelError) as error:
        best(found)
    assert "nothing was rated" in str(error.value)
    assert "'Score: '             0.49, 0.60; 6 to 9: 0.13" in str(error.value)
    assert "none                  0.05, 0.13\n" in table(found)


def test_starts_of_the_user_come_last_and_none_twice():
    assert candidates(["Mark: ", "Score:"]) == [*STARTS, "Mark: "]


class Joining(ByteTokenizer):
    """A blank and the digit after it are one token, as in GPT-2's vocabulary."""

    @staticmethod
    def _encode(text, *, split):
        ids, at = [], 0
        while at < len(text):
            joined = text[at] == " " and text[at + 1 : at + 2].isdigit()
            ids.append(1000 + int(text[at + 1]) if joined else ord(text[at]))
            at += 2 if joined else 1
        return ids


class Pairs(ByteTokenizer):
    """A digit is never a token of its own after a colon or a blank."""

    @staticmethod
    def _encode(text, *, split):
        ids = list(text.encode())
        return [*ids[:-1], 7, ids[-1]] if text[-1:].isdigit() else ids


def test_a_start_loses_its_blank_where_the_tokenizer_joins_it_to_the_label():
    assert fitting(ByteTokenizer(), "Rating: ", DIGITS) == "Rating: "
    assert fitting(ByteTokenizer(), "Rating:", DIGITS) == "Rating:"
    assert fitting(Joining(), "Rating: ", DIGITS) == "Rating:"
    assert fitting(Pairs(), "Rating: ", DIGITS) is None
    assert fitting(Pairs(), "", DIGITS) == ""
