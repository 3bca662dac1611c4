from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.errors import RuleselError
from rulesel.raters import Lent, rater_for
from rulesel.raters import signals as signals_module
from rulesel.raters.signals import Signals, isolation, processes
from rulesel.raters.signals import engine as engine_module
from rulesel.raters.signals.engine import connect
from rulesel.raters.signals.expression import FUNCTIONS
from rulesel.raters.signals.vocabulary import COLUMNS, MACROS
from rulesel.records import Batch, Flag, Rule, Status

LENT = Lent(b"", lambda name: None)


@pytest.fixture(scope="module")
def rater():
    made = Signals()
    yield made
    made.close()


def rule(sql, polarity="positive"):
    return Rule(name="r", text="The text is as it should be.", sql=sql, polarity=polarity)


def rate(rater, responses, *expressions, prompts=None, polarity="positive"):
    batch = Batch(["h"] * len(responses), list(prompts or [None] * len(responses)), list(responses))
    (found,) = rater.rate([batch], [rule(sql, polarity) for sql in expressions], LENT)
    return found


def value(rater, sql, response="", prompt=None):
    """The value of any scalar expression: a tenth of a rating, so that counts to ten can be read."""
    found = rate(rater, [response], f"({sql}) / 10.0", prompts=[prompt])
    return None if np.isnan(found.values[0, 0]) else round(float(found.values[0, 0]) * 10, 4)


def nested(call, depth, inside="n_words"):
    for _ in range(depth):
        inside = call.format(inside)
    return inside


ATTACKS = {
    "read_csv('/etc/passwd')": "not on the list",
    "read_text('/etc/passwd')": "not on the list",
    "(SELECT count(*) FROM read_csv('/etc/passwd'))": "subquery",
    "(SELECT 1)": "subquery",
    "EXISTS (SELECT 1)": "subquery",
    "n_words IN (SELECT 1)": "subquery",
    "n_words = ANY (SELECT 1)": "subquery",
    "CASE WHEN true THEN (SELECT 1) ELSE 0 END": "subquery",
    "len(list_filter(words, lambda w: (SELECT true)))": "subquery",
    "1 FROM read_csv('/etc/passwd')": "not a query",
    "1 FROM examples": "not a query",
    "1 WHERE true": "not a query",
    "1 ORDER BY 1": "not a query",
    "1 LIMIT 1": "not a query",
    "1 GROUP BY ALL": "not a query",
    "DISTINCT 1": "not a query",
    "1 UNION SELECT 2": "combined query",
    "1, 2": "not a list",
    "1 AS rating": "without a name",
    "1; SELECT 2": "2 statements",
    "1; DROP TABLE examples": "Only SELECT statements",
    "1; COPY (SELECT 1) TO '/tmp/x'": "Only SELECT statements",
    "1; ATTACH '/tmp/x.db'": "Only SELECT statements",
    "1; PRAGMA version": "cannot read it",
    "1; INSTALL httpfs": "Only SELECT statements",
    "1) FROM read_csv('/etc/passwd') WHERE (true": "cannot read it",
    "1), (2": "cannot read it",
    "1) + (2": "cannot read it",
    "1 /* open": "unterminated",
    "'open": "unterminated",
    "*": "star",
    "COLUMNS('.*')": "star",
    "count(*)": "not on the list",
    "sum(n_words)": "not on the list",
    "sum(n_words) OVER ()": "window",
    "row_number() OVER ()": "window",
    "$1": "parameter",
    "?": "parameter",
    "#1": "positional reference",
    "getenv('HOME')": "not on the list",
    "getvariable('x')": "not on the list",
    "current_setting('memory_limit')": "not on the list",
    "pragma_version()": "not on the list",
    "version()": "not on the list",
    "current_date": "no column 'current_date'",
    "random()": "not on the list",
    "query('SELECT 1')": "not on the list",
    "json_execute_serialized_sql('{}')": "not on the list",
    "unnest(words)": "not on the list",
    "nothing_of_the_kind(response)": "not on the list",
    "repeat(response, 1000000)": "not on the list",
    "lpad(response, 1000000000, 'x')": "not on the list",
    "len(range(1000000000))": "not on the list",
    "list_aggregate(words, 'string_agg')": "not on the list",
    "list_reduce(words, lambda a, b: a || b)": "not on the list",
    "[x FOR x IN words]": "not on the list",
    "len([x FOR x IN words IF x = 'a'])": "not on the list",
    "{'a': 1}": "not on the list",
    "'x'::JSON": "cast to",
    "n_words COLLATE nocase": "collate",
    "DEFAULT": "default",
    "batch.response": "no column 'batch.response'",
    "was_cut": "no column 'was_cut'",
    "rowid": "no column 'rowid'",
    "response": "not a number",
    "words": "not a number",
    "lower(response, 1)": "No function matches",
    "response.lower()": "is called on 'response'",
    "information_schema.lower(response)": "is called on 'information_schema'",
    "regexp_matches(response, prompt)": "pattern of regexp_matches is to be a constant",
    "hits(response, prompt)": "pattern of hits is to be a constant",
    "regexp_matches(response, '(')": "missing \\)",
    "CASE WHEN n_words > 99 THEN hits(response, '[') ELSE 0 END": "missing \\]",
    "len(string_split_regex(response, '*'))": "no argument",
    "regexp_replace(response, '(', '') = ''": "missing \\)",
    "regexp_matches(response, 'a', 'q')": "option q",
    "length(replace(response, 'a', 'aaaaaaaaaa'))": "one character at most",
    "length(replace(response, 'a', response))": "one character at most",
    "length(regexp_replace(response, '', response, 'g'))": "one character at most",
    "len(list_transform(words, lambda w: response))": "but not searched or copied",
    "len(list_transform(words, lambda w: w || response))": "but not searched or copied",
    "len(list_transform(words, lambda w: lower(response)))": "but not searched or copied",
    "len(list_transform(words, lambda w: words_of(response)))": "but not searched or copied",
    "len(list_transform(words, lambda w: CASE WHEN true THEN text END))": "but not searched or copied",
    "len(list_filter(words, lambda w: list_contains(words, w || 's')))": "but not searched or copied",
    "len(list_filter(words, lambda w: contains(response, w || 's')))": "but not searched or copied",
    "len(list_filter(words, lambda w: regexp_matches(response, 'a')))": "but not searched or copied",
    "len(list_transform(words, lambda w: [w, w, w]))": "not made",
    f"len(list_transform(words, lambda w: w || '{'x' * 33}'))": "32 characters at most",
    "len(list_transform(words, lambda w: len(list_filter(string_split(w, ''), lambda v: v = w))))": "lambda inside a lambda",
    "len(list_filter(words, lambda response: response = 'a'))": "it is a column",
    "length(" + " || ".join(["response"] * 9) + ")": "puts together",
    "1" + " + 1" * 2500: "10,000",
    "-(" * 3000 + "n_words" + ")" * 3000: "depth",
    nested("peak({}, 0, 1, 2, 3)", 14): "written out",
    nested("peak({}, 0, 1, 2, 3)", 24): "written out",
    nested("ramp(1, {}, 1)", 16): "written out",
    nested("share(1, {})", 60): "written out",
    nested("nullif({}, 1)", 40): "written out",
    nested("closeness(1, {})", 12): "written out",
    nested("({} IN (1, 2, 3, 4))::INTEGER", 20): "written out",
    nested("CASE {} WHEN 1 THEN 2 WHEN 3 THEN 4 ELSE 0 END", 12): "a CASE may not stand",
    f"repeats({nested('content({})', 30, 'words')})": "written out",
    f"repeats({nested('trigrams({})', 8, 'words')})": "written out",
    "response ~ 'a'": "write regexp_matches",
    "response !~ 'a'": "write NOT regexp_matches",
    "": "cannot read it",
    "-- nothing": "cannot read it",
}


@pytest.mark.parametrize("sql", ATTACKS, ids=lambda sql: sql[:60])
def test_what_is_not_on_the_list_is_refused_with_the_reason(rater, sql):
    reason = rater.refuses(rule(sql))
    assert reason is not None
    assert "\n" not in reason
    assert ATTACKS[sql].replace("\\", "") in reason


ACCEPTED = [
    "1", "n_words / 100.0", "n_words > 3", "1 -- a comment", "1 /* a\ncomment */", "CASE WHEN n_words > 1 THEN 1 ELSE 0 END",
    "n_words BETWEEN 1 AND 2", "n_words IN (1, 2)", "prompt IS NULL", "NOT contains(response, 'a')", "response LIKE '%a%'",
    "coalesce(overlap(words, prompt_words), 0)", "TRY(response::INTEGER)", "TRY_CAST(response AS DOUBLE)", "words[1] = 'a'",
    "len(list_filter(words, lambda w: length(w) > 3)) / 9", "len(list_filter(words, lambda w, i: w = words[i + 1])) / 9",
    "len(list_filter(words, lambda w: starts_with(response, w))) / 9", "RESPONSE = 'a'", "'日本 ~ ->' = response",
    "len(list_filter(words, lambda w: list_contains(['a', 'b'], w))) / 9", "substring(response FROM 1 FOR 2) = 'ab'",
    "length(replace(response, '~', '')) / 9", "if(n_words > 1, 1, 0)", "-(-(1))", "n_chars % 2", "2 ** 0", "$$a$$ = response",
    "10 % (n_words - 1)", "10 % (n_words - 3)", "response::DOUBLE / 10", "regexp_extract(response, 'Score: ([0-9]+)', 1)::INTEGER",
]  # fmt: skip


@pytest.mark.parametrize("sql", ACCEPTED)
def test_a_scalar_expression_over_the_columns_is_accepted(rater, sql):
    assert rater.refuses(rule(sql)) is None


def test_a_rule_without_an_expression_is_refused_with_that_reason(rater):
    assert rater.refuses(Rule(name="r", text="It is right.")) == "the rule has no sql expression"


def test_a_refused_rule_is_not_applicable_and_nothing_of_it_is_run(rater):
    rules = [rule("n_words / 10.0"), rule("(SELECT 1)"), Rule(name="n", text="It is right.")]
    (found,) = rater.rate([Batch(["h"], [None], ["one two"])], rules, LENT)
    assert found.status.tolist() == [[Status.ok, Status.not_applicable, Status.not_applicable]]
    assert found.reasons == {(0, 1): "subquery is not allowed", (0, 2): "the rule has no sql expression"}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/rulesel-must-not-exist'", "ATTACH '/tmp/x.db'",
        "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '9GB'", "SET enable_external_access = true", "SELECT getenv('HOME')",
        "SELECT * FROM secret_table",
    ],
)  # fmt: skip
def test_the_database_itself_is_closed(query):
    secret_table = {"a": [1]}  # a variable of the caller that DuckDB could otherwise read
    import duckdb

    connection = connect()
    with pytest.raises(duckdb.Error):
        connection.execute(query).fetchall()
    assert secret_table
    connection.close()


@pytest.mark.parametrize(
    ("column", "response", "prompt", "wanted"),
    [
        ("n_chars", "añb", None, 3),
        ("n_chars", "👩‍👩‍👧", None, 5),
        ("n_words", "The cat's 2nd hat—really!", None, 5),
        ("n_words", "don’t snake_case 3.14", None, 5),
        ("n_words", "你好世界", None, 4),
        ("n_words", "カタカナ と ひらがな", None, 6),
        ("n_words", "สวัสดี", None, 2),
        ("n_words", "naïve cafe\u0301", None, 2),
        ("n_words", "한국어 문장", None, 2),
        ("n_words", " \n☺️ … ", None, 0),
        ("n_lines", "a\n\n \r\nb\r\n", None, 2),
        ("n_lines", "", None, 0),
        ("n_turns", "text", None, 1),
        ("n_turns", "answer", "", 1),
        ("n_turns", "answer", "question", 2),
        ("n_turns", "answer", "[user]\nhi\n\n[assistant]\nhello\n\n[user]\nbye", 4),
        ("len(sentences)", "Pi is 3.14. Is it? Yes!!! 你好。再见", None, 5),
        ("len(sentences)", "one\ntwo\n...\n", None, 2),
        ("length(text)", "b", "a", 4),
        ("length(text)", "b", None, 1),
        ("len(prompt_words)", "b", None, None),
        ("len(prompt_words)", "b", "", 0),
        ("list_items(response)", "- a\n * b\n1. c\n2) d\n(3) e\nx\n-f\n3.5 g", None, 5),
        ("asked_for(prompt)", "", "Please give me five really good ways to rest", 5),
        ("asked_for(prompt)", "", "List 7 uses of salt", 7),
        ("asked_for(prompt)", "", "Who won in 7 games?", None),
        (
            "len(equations(response))",
            "48/2 = <<48/2=24>>24, 3 + 4 x 2 = 11. 5*(2) + 3+4 = 17; Y*3+4=7; 3/3 - 2/3 = 1/3",
            None,
            2,
        ),
        ("len(content(words))", "The cat is on the mat", None, 2),
        ("hits(response, 'a+')", "aa ba c", None, 2),
        ("count_of(response, 'ab')", "ababa", None, 2),
        ("10 * repeats(words)", "a b a b a", None, 6),
        ("10 * repeats(words)", "", None, None),
        ("10 * overlap(prompt_words, words)", "a b c", "a a d", 5),
        ("10 * overlap(prompt_words, words)", "a", "", None),
        ("list_unique(trigrams(words))", "a b c a b c", None, 3),
        ("list_sum(numbers(response))", "1,000 - 998.5 and .5", None, None),
        ("list_max(numbers(response)) / 1000", "1,000 - 998.5 and .5", None, 1),
        ("ramp(3, 1, 5)", "", None, 0.5),
        ("ramp(9, 1, 5)", "", None, 1),
        ("ramp(4, 5, 1)", "", None, 0.25),
        ("ramp(NULL::INTEGER, 0, 1)", "", None, None),
        ("peak(3, 0, 2, 4, 8)", "", None, 1),
        ("peak(6, 0, 2, 4, 8)", "", None, 0.5),
        ("closeness(4, 5)", "", None, 0.8),
        ("closeness(4, NULL)", "", None, None),
        ("10 * share(1, 4)", "", None, 2.5),
        ("share(1, 0)", "", None, None),
    ],
)
def test_columns_and_functions_mean_what_they_say(rater, column, response, prompt, wanted):
    assert value(rater, column, response, prompt) == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("equation", "right"),
    [
        ("48/2=24", True),
        ("48/2=25", False),
        ("3 + 4 x 2 = 11", True),
        ("3 + 4 x 2 = 14", False),
        ("100-50-30-15=5", True),
        ("1,000 + $500 = $1,500", True),
        ("10/3=3.33", True),
        ("10/3=3.3", True),
        ("10/3=3.4", False),
        ("10/3=3", False),
        ("2-5=-3", True),
        ("7 × 6 ÷ 2 = 21", True),
        ("0.1+0.2=0.3", True),
        ("5/0=0", False),
    ],
)
def test_written_calculations_are_checked(rater, equation, right):
    sql = "len(list_filter(equations(response), lambda e: holds(e))) = 1 AND len(equations(response)) = 1"
    found = rate(rater, [f"So {equation} apples"], sql)
    assert bool(found.values[0, 0] == 1) is right


def test_a_negative_rule_gives_one_minus_the_value(rater):
    assert rate(rater, ["a b c"], "n_words / 4.0", polarity="negative").values[0, 0] == 0.25


@pytest.mark.parametrize(
    ("sql", "status", "rating"),
    [
        ("NULL::DOUBLE", Status.not_applicable, None),
        ("'nan'::DOUBLE", Status.range, None),
        ("'inf'::DOUBLE", Status.range, None),
        ("1.1", Status.range, None),
        ("-0.1", Status.range, None),
        ("1 + 5e-7", Status.ok, 1.0),
        ("0 - 5e-7", Status.ok, 0.0),
        ("1 + 2e-6", Status.range, None),
        ("n_words = 2", Status.ok, 1.0),
        ("response::DOUBLE", Status.parse, None),
    ],
)
def test_a_value_is_a_rating_or_a_failure(rater, sql, status, rating):
    found = rate(rater, ["two words"], sql)
    assert found.status[0, 0] == status
    assert (None if np.isnan(found.values[0, 0]) else found.values[0, 0]) == rating
    assert ((0, 0) in found.reasons) == (status != Status.ok)


def test_an_expression_that_raises_loses_only_the_rows_it_raises_on(rater):
    texts = ["0.5", "x", "1", ""]
    expressions = [
        "response::DOUBLE",
        "(response::DOUBLE + response::DOUBLE) / 2",
        "nullif(response::DOUBLE, 1)",
        "n_words / 9.0",
    ]
    found = rate(rater, texts, *expressions)
    np.testing.assert_allclose(found.values[:, 0], [0.5, np.nan, 1, np.nan])
    np.testing.assert_allclose(found.values[:, 1], [0.5, np.nan, 1, np.nan])
    np.testing.assert_allclose(found.values[:, 2], [0.5, np.nan, np.nan, np.nan])
    assert found.status[:, 2].tolist() == [Status.ok, Status.parse, Status.not_applicable, Status.parse]
    assert (found.status[:, 3] == Status.ok).all()
    assert "Could not convert" in found.reasons[1, 0]


def test_an_expression_that_even_try_cannot_save_loses_its_column_only(monkeypatch):
    query = engine_module.Evaluator._query

    def failing(self, which):
        import duckdb

        if 0 in which:
            raise duckdb.OutOfMemoryException("Out of Memory Error: too large")
        return query(self, which)

    monkeypatch.setattr(engine_module.Evaluator, "_query", failing)
    with connect() as connection:
        table = pa.table({"prompt": pa.array([None, None], pa.string()), "response": ["a b", "c"]})
        found = engine_module.Evaluator(connection, ["n_words / 9.0", "n_chars / 9.0"], 1000).evaluate(table)
    assert found.failed.tolist() == [[True, False], [True, False]]
    assert found.errors[0] == "Out of Memory Error: too large"


texts = st.text(st.characters(codec="utf-8"), max_size=40)
EXPRESSIONS = [
    "ramp(n_words, 0, 9)",
    "overlap(prompt_words, words)",
    "response::DOUBLE",
    "n_chars / 9.0",
    "repeats(trigrams(words))",
]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.none() | texts, texts | st.sampled_from(["0.25", "7", "a b a b a b"])), max_size=20),
    st.data(),
)
@pytest.mark.slow
def test_ratings_do_not_depend_on_how_the_examples_are_batched(rater, examples, data):
    rules = [rule(sql) for sql in EXPRESSIONS]
    prompts, responses = [p for p, _ in examples], [r for _, r in examples]
    (whole,) = rater.rate([Batch([""] * len(examples), prompts, responses)], rules, LENT)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(examples)), max_size=3)))
    edges = list(zip([0, *cuts], [*cuts, len(examples)], strict=True))
    parts = list(rater.rate((Batch([""] * (b - a), prompts[a:b], responses[a:b]) for a, b in edges), rules, LENT))
    assert [len(part) for part in parts] == [b - a for a, b in edges]
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), whole.values)
    np.testing.assert_array_equal(np.concatenate([p.status for p in parts]), whole.status)


def test_order_is_kept_over_many_slices_and_threads(rater):
    n = 30_000
    found = rate(rater, [str(i) for i in range(n)], f"response::DOUBLE / {n}")
    np.testing.assert_allclose(found.values[:, 0], np.arange(n) / n, atol=1e-6)


def test_a_batch_is_cut_into_queries_of_bounded_bytes(rater, monkeypatch):
    sizes = []
    evaluate = isolation.Isolated.evaluate
    monkeypatch.setattr(isolation.Isolated, "evaluate", lambda self, t: sizes.append(t.nbytes) or evaluate(self, t))
    responses = ["x" * 300_000] * 60
    found = rate(rater, responses, "n_chars / 60000.0")
    assert len(found) == 60
    assert len(sizes) >= 5
    assert max(sizes) < 4_500_000


def test_an_empty_batch_and_no_rules_give_empty_ratings(rater):
    (empty,) = rater.rate([Batch([], [], [])], [rule("1")], LENT)
    assert empty.values.shape == (0, 1)
    (no_rules,) = rater.rate([Batch(["h"], [None], ["a"])], [], LENT)
    assert no_rules.values.shape == (1, 0)
    assert list(rater.rate([], [rule("1")], LENT)) == []


def test_a_long_text_is_cut_to_head_and_tail_and_flagged(rater):
    sql = [
        "n_chars / 60000.0",
        "starts_with(response, 'head')",
        "ends_with(response, 'tail')",
        "coalesce(length(prompt), 0) / 60000.0",
    ]
    found = rate(rater, ["head" + "x" * 60_000 + "tail", "short"], *sql)
    assert found.values[0].tolist() == [np.float32(50_000 / 60_000), 1, 1, 0]
    assert found.flags.tolist() == [[Flag.document_cut] * 4, [Flag.none] * 4]
    prompt_cut = rate(rater, ["a"], *sql, prompts=["p" * 50_001])
    assert prompt_cut.values[0, 3] == np.float32(50_000 / 60_000)
    assert (prompt_cut.flags == Flag.document_cut).all()
    assert (rate(rater, ["a" * 50_000], *sql).flags == Flag.none).all()


def test_nul_characters_and_lone_surrogates_are_rated_like_any_other(rater):
    found = rate(
        rater, ["a\0b c", "\ud800 a", "\0"], "n_words / 10.0", "n_chars / 10.0", prompts=["\udfff", None, "\0"]
    )
    np.testing.assert_allclose(found.values, [[0.3, 0.5], [0.1, 0.3], [0, 0.1]], atol=1e-6)


@pytest.mark.parametrize(
    "pattern", ["(x+x+)+y", "(a|aa)+$", "(.*)(.*)(.*)(.*)(.*)[^a]z", "(?:x?){200}x{200}", r"^(\s*x\s*)*$"]
)
def test_patterns_that_explode_elsewhere_are_linear_here(rater, pattern):
    found = rate(rater, ["x" * 300_000, "a" * 300_000], f"regexp_matches(response, '{pattern}')")
    assert (found.status == Status.ok).all()


def test_two_jobs_of_one_rater_do_not_disturb_each_other(rater):
    jobs = [rater.rate(([Batch(["h"], [None], [text])]) * 3, [rule("n_words / 10.0")], LENT) for text in ("a", "a b")]
    turns = [next(jobs[i % 2]).values[0, 0] for i in range(6)]
    np.testing.assert_allclose(turns, [0.1, 0.2] * 3, atol=1e-6)
    assert [list(job) for job in jobs] == [[], []]


def test_the_judge_name_builds_it_and_the_parameters_are_its_identity(monkeypatch):
    assert isinstance(rater_for("signals"), Signals)
    assert rater_for("signals").id == Signals().id
    assert rater_for("signals", max_chars=1000).id != Signals().id
    assert rater_for("signals").provenance().keys() == {"duckdb"}
    before = Signals().id
    monkeypatch.setitem(MACROS, "ramp", MACROS["ramp"]._replace(sql="x"))
    assert Signals().id != before


@pytest.mark.slow
def test_closing_twice_is_harmless_and_the_rater_opens_again():
    made = Signals()
    assert value(made, "n_words", "a b") == 2
    made.close()
    made.close()
    assert value(made, "n_words", "a b") == 2
    made.close()


def test_every_column_and_function_has_its_meaning_written_down():
    assert all(column.meaning for column in COLUMNS.values())
    assert all(macro.meaning for macro in MACROS.values())
    assert set(MACROS) <= FUNCTIONS


@pytest.mark.slow
def test_importing_the_rater_imports_no_duckdb():
    code = "import sys, rulesel.raters.signals; print(sorted({'duckdb', 'pyarrow'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


ENDLESS = "hits(text, '(?s)a.*q|a') / 1e9"  # looks to the end of the text for a q, from every a


@pytest.mark.slow
def test_an_expression_that_outlasts_its_time_loses_its_cells_and_no_other(rater, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0.5)
    rules = [rule("n_chars / 60000.0"), rule(ENDLESS), rule("response::DOUBLE")]
    blocks = [Batch(["h"] * 2, [None] * 2, ["a" * 50_000, "0.5"]) for _ in range(4)]
    found = list(rater.rate(blocks, rules, LENT))
    for ratings in found:
        assert ratings.status.tolist() == [
            [Status.ok, Status.timeout, Status.parse],
            [Status.ok, Status.timeout, Status.ok],
        ]
        np.testing.assert_allclose(ratings.values[:, 0], [50_000 / 60_000, 3 / 60_000], atol=1e-6)
    assert "more than 0.5 s on 2 examples" in found[0].reasons[0, 1]
    assert "given up after 3 blocks" in found[-1].reasons[0, 1]
    (short,) = rater.rate([Batch(["h"], [None], ["aaa"])], [rule(ENDLESS)], LENT)
    assert short.status[0, 0] == Status.ok


@pytest.mark.slow
def test_a_check_that_outlasts_its_time_is_a_refusal(monkeypatch):
    monkeypatch.setattr(isolation, "CHECKING", 0.2)
    slow = nested("({} > 1 AND n_words > 2)::INTEGER", 60)
    assert Signals().refuses(rule(slow)) == "it takes too long to be checked"
    assert Signals().refuses(rule("n_words / 9.0")) is None
    rater = Signals()
    monkeypatch.setattr(signals_module, "refusal", lambda sql: isolation.TOO_LONG)
    reasons = [rater.refuses(rule(f"n_words / {n}.0")) for n in range(4)]
    assert reasons == [isolation.TOO_LONG] * 3 + ["it was not checked: 3 others took too long to be checked"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["check", "rate"])
def test_an_interrupt_is_heeded_whatever_an_expression_does(what, monkeypatch):
    monkeypatch.setattr(isolation, "CHECKING", 60.0)
    monkeypatch.setattr(isolation, "SECONDS", 60.0)
    rater = Signals()
    assert rater.refuses(rule(ENDLESS)) is None
    slow = rule(nested("({} > 1 AND n_words > 2)::INTEGER", 100))
    batch = Batch(["h"] * 9, [None] * 9, ["a" * 50_000] * 9)
    work = {"check": lambda: rater.refuses(slow), "rate": lambda: list(rater.rate([batch], [rule(ENDLESS)], LENT))}

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            work[what]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 30
    assert value(rater, "n_words", "a b") == 2


@pytest.mark.slow
def test_a_process_that_ends_by_itself_loses_one_block(rater):
    known = isolation.Known(["n_words / 9.0", "n_chars / 9.0"], 1000)
    table = pa.table({"prompt": pa.array([None], pa.string()), "response": ["a b"]})
    one = isolation.Isolated(known)
    assert not one.evaluate(table).failed.any()
    one._process._process.kill()
    assert one.evaluate(table).values.tolist() == [[2 / 9, 3 / 9]]  # asked again, each alone
    one._process._process.kill()
    alone = isolation.Isolated(isolation.Known(["n_words / 9.0"], 1000))
    alone._process, one._process = one._process, None
    lost = alone.evaluate(table)
    assert lost.failed.tolist() == [[True]]
    assert "process" in lost.errors[0]


def test_the_processes_know_no_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1234567890")
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(processes.subprocess, "Popen", lambda *a, **k: started.append((a, k)) or popen(*a, **k))
    process = processes.Process()
    process.end()
    process.end()
    assert "canary" not in repr(started)


def test_what_is_asked_of_a_process_that_cannot_start_is_one_line(monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", "/nowhere/python")
    with pytest.raises(RuleselError, match="could be started"):
        processes.Process()
