"""Several methods in one selection: shares, order, what is lacking, and rows named as chosen already."""

import numpy as np
import orjson
import pytest

import rulesel
from rulesel.errors import UsageError
from rulesel.plugins import build
from rulesel.selection import Pool, Selector, choose


def offered(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return {"embeddings": rng.normal(size=(n, 5)), "quality": rng.random(n)}


def parts(**shares):
    return [{"method": method, "share": share} for method, share in shares.items()]


def test_each_part_picks_its_share_and_counts_what_earlier_ones_picked():
    arrays = offered()
    found = rulesel.pick("mixture", 10, parts=parts(top_k=7, kcenter=3), **arrays)
    best = rulesel.pick("top_k", 7, **arrays).indices
    far = rulesel.pick("kcenter", 3, given=best, **arrays).indices
    assert set(found.indices.tolist()) == {*best.tolist(), *far.tolist()}
    assert [row for row in found.indices if row in best] == best.tolist()
    assert [row for row in found.indices if row in far] == far.tolist()
    assert [(part["method"], part["picked"]) for part in found.report["parts"]] == [("top_k", 7), ("kcenter", 3)]


def test_every_prefix_has_the_shares_within_one_row():
    arrays = offered(60)
    found = rulesel.pick("mixture", 30, parts=parts(top_k=2, random=1), **arrays)
    best = set(rulesel.pick("top_k", 20, **arrays).indices.tolist())
    for size in range(1, 31):
        assert abs(len(best & set(found.indices[:size].tolist())) - 2 * size / 3) <= 1


def test_a_mapping_of_shares_is_a_list_of_parts():
    one = rulesel.pick("mixture", 9, parts={"top_k": 0.5, "leader": 0.5}, **offered())
    other = rulesel.pick("mixture", 9, parts=parts(top_k=0.5, leader=0.5), **offered())
    assert one.indices.tolist() == other.indices.tolist()


def test_a_method_may_come_twice_with_its_own_parameters():
    both = [
        {"method": "qdit", "parameters": {"alpha": 1}},
        {"method": "qdit", "parameters": {"alpha": 0}},
    ]
    arrays = offered()
    found = rulesel.pick("mixture", 6, parts=both, **arrays)
    assert set(rulesel.pick("top_k", 3, **arrays).indices.tolist()) <= set(found.indices.tolist())


def test_what_a_part_lacks_the_others_pick():
    arrays = offered()
    copies = {"embeddings": np.repeat(np.eye(2), 20, axis=0), "quality": arrays["quality"]}
    found = rulesel.pick("mixture", 20, parts=parts(leader=1, random=1), **copies)
    assert len(found) == 20
    assert "shortfall" not in found.report
    assert [part["picked"] for part in found.report["parts"]] == [2, 18]
    alone = rulesel.pick("mixture", 20, parts=parts(leader=1), **copies)
    assert alone.report["shortfall"] == 18


def test_rows_that_lack_what_a_part_reads_are_left_out_of_all():
    arrays = offered()
    arrays["embeddings"][:5] = np.nan
    found = rulesel.pick("mixture", 40, parts=parts(random=1, kcenter=1), **arrays)
    assert set(found.indices.tolist()) == set(range(5, 40))
    assert found.report["excluded"] == 5
    assert found.report["shortfall"] == 5


def test_it_reads_what_its_parts_read():
    def reads(**shares):
        return build("rulesel.selection", "mixture", Selector, {"parts": parts(**shares)}).reads

    assert reads(random=1) == ()
    assert reads(mig=1, kcenter=1, qdit=1) == ("quality", "tags", "embeddings")
    assert rulesel.pick("mixture", 2, texts=["a b", "c d", "e f"], parts=parts(kcenter=1, longest=1)).indices.size == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "parts"),
        (parts(top_k=0), "share"),
        ([{"method": "top"}], "top_k"),
        ([{"method": "qdit", "parameters": {"alpha": 2}}], "alpha"),
        ([{"method": "top_k", "parameters": {"given": [1]}}], "given belongs to the mixture"),
        ({"top_k": "half"}, "share"),
    ],
)
def test_parts_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        rulesel.pick("mixture", 3, parts=wrong, **offered())


def test_parts_survive_json():
    made = build("rulesel.selection", "mixture", Selector, {"parts": parts(deita=3, random=1)})
    assert type(made).model_validate(orjson.loads(made.model_dump_json())) == made


@pytest.mark.parametrize("method", ["top_k", "kcenter", "deita", "novelselect", "facility_location", "mixture"])
def test_given_may_be_written_among_the_parameters(method):
    arrays = offered()
    pool = Pool(n=40, **arrays)
    selector = build("rulesel.selection", method, Selector, {"given": [30, 2]})
    expected = rulesel.pick(method, 6, given=[2, 30], **arrays).indices.tolist()
    assert choose(selector, pool, k=6).indices.tolist() == expected
    assert choose(selector, Pool(n=40, given=np.array([2]), **arrays), k=6).indices.tolist() == expected


def test_given_names_rows_as_the_pool_calls_them():
    pool = Pool(n=3, quality=np.array([3.0, 2, 1]), origin=np.array([10, 20, 30]))
    chosen = build("rulesel.selection", "top_k", Selector, {"given": [10]})
    assert choose(chosen, pool, k=1).indices.tolist() == [1]
    with pytest.raises(ValueError, match="given names row 1,"):
        choose(build("rulesel.selection", "top_k", Selector, {"given": [1]}), pool, k=1)
    with pytest.raises(UsageError, match="given"):
        build("rulesel.selection", "top_k", Selector, {"given": [-1]})
