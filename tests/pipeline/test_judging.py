"""Grades as columns: which grades a name means."""

import orjson

from rulesel.config import JudgeConfig, PickConfig, check
from rulesel.pipeline.judging import judge
from rulesel.pipeline.selecting import select


def test_a_name_means_the_grades_that_were_asked_for_last(planted, tmp_path):
    place = str(tmp_path / "store.duckdb")

    def graded(about):
        values = {"judge": "fake:planted", "rubric": "overall", "about": about, "store": place, "yes": True}
        judge(check(JudgeConfig, values | {"corpus": {"path": str(planted(60))}}))

    def best():
        out = tmp_path / "best.jsonl"
        select(check(PickConfig, {"select": {"quality": "overall", "k": 8}, "store": place, "out": str(out)}))
        return [orjson.loads(line)["instruction"] for line in out.read_bytes().splitlines()]

    graded("maths")
    maths = best()
    graded("poems")
    poems = best()
    graded("maths")
    assert best() == maths != poems
