from __future__ import annotations

import base64
import math
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.reporting.charts import bars, dots, eigenvalues, length_ticks, overlaid, round_ticks
from rulesel.reporting.heat_map import LINE, NEGATIVE, POSITIVE, _apart, heat_map, packed, picture_of
from rulesel.reporting.svg import element, label, plain, shortened
from rulesel.rules.audit_figures import CorrelationMap, Estimate, Histogram, Merge, Spectrum
from rulesel.visible import visible

HOSTILE = "\"><script>alert(1)</script>&'\u202e"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in root.iter() if name in (one.get("class") or "").split()]


@given(st.text(), st.text())
def test_whatever_the_text_an_element_is_well_formed_and_gives_it_back(text: str, value: str) -> None:
    root = parsed(element("text", visible(text), data_x=visible(value), class_="a"))
    wanted = visible(text).replace("\r\n", "\n").replace("\r", "\n")
    assert (root.text or "") == wanted
    assert root.get("class") == "a"


def test_a_label_is_isolated_and_its_controls_are_spelled_out() -> None:
    root = parsed(label(shortened(HOSTILE, 80), 1, 2.5))
    assert root.text == "\u2068\"><script>alert(1)</script>&'[U+202E]\u2069"
    assert root.get("y") == "2.5"


@pytest.mark.parametrize(("text", "shown"), [("a\n b", "a b"), ("x" * 12, "x" * 9 + "…"), ("\x1b", "[U+001B]")])
def test_shortened_is_one_line_of_bounded_length(text: str, shown: str) -> None:
    assert shortened(text, 10) == shown


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (-0.001, "0"), (2.345, "2.35"), (1000.0, "1000")])
def test_coordinates_are_short(value: float, text: str) -> None:
    assert plain(value) == text


def pixels(address: str) -> np.ndarray:
    """Decode the PNG by the specification: (height, width, 4)."""
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 0).all()
    colours = np.frombuffer(chunks[b"PLTE"], dtype=np.uint8).reshape(-1, 3)
    opacity = np.frombuffer(chunks[b"tRNS"], dtype=np.uint8)
    return np.concatenate([colours[rows[:, 1:]], opacity[rows[:, 1:]][..., None]], axis=2)


def test_the_picture_holds_the_sign_as_colour_and_the_size_as_opacity() -> None:
    C = np.array([[1, 0.5, -1], [0.5, 1, 0], [-1, 0, 1]])
    image = pixels(picture_of(C))
    assert image[0, 0].tolist() == [*POSITIVE, 255]
    assert image[0, 1].tolist() == [*POSITIVE, 128]
    assert image[0, 2].tolist() == [*NEGATIVE, 255]
    assert image[1, 2, 3] == 0


def test_the_packed_matrix_is_hundredths() -> None:
    found = np.frombuffer(base64.b64decode(packed([[1, -0.256], [-0.256, 1]])), dtype=np.int8)
    assert found.tolist() == [100, -26, -26, 100]


def test_the_map_names_every_rule_where_there_are_few_and_the_chosen_ones_where_there_are_many() -> None:
    def drawn(count: int) -> ET.Element:
        merges = [
            Merge(left=0 if at == 0 else count + at - 1, right=at + 1, height=0.1 * at) for at in range(count - 1)
        ]
        C = np.eye(count).tolist()
        figures = CorrelationMap(order=list(range(count)), correlation=C, merges=merges[: min(count - 1, 9)])
        return parsed(heat_map(figures, [f"{HOSTILE} {at}" for at in range(count)], [3, 1]))

    few, many = drawn(8), drawn(100)
    assert len(of_class(few, "name")) == 8
    assert len(of_class(many, "name")) == 2
    assert [one.text for one in of_class(few, "place")] == ["\u20682\u2069", "\u20681\u2069"]
    assert not [one for one in few.iter() if one.tag.endswith("script")]


@given(st.lists(st.floats(0, 300), max_size=30))
def test_names_stand_apart_in_order_and_move_only_where_they_must(wishes: list[float]) -> None:
    wishes.sort()
    places = _apart(wishes)
    assert all(b - a >= LINE - 1e-6 for a, b in pairwise(places))
    if all(b - a >= LINE for a, b in pairwise(wishes)):
        assert places == pytest.approx(wishes)


def test_bars_show_every_count_and_nothing_where_there_is_none() -> None:
    root = parsed(bars(Histogram(edges=[0, 0.5, 1], counts=[1, 0, 3]), title=HOSTILE))
    heights = [float(one.get("height") or 0) for one in of_class(root, "bar")]
    assert heights[2] == max(heights)
    assert len(heights) == 3
    assert bars(Histogram(edges=[], counts=[]), title="") == ""
    assert len(of_class(parsed(bars(Histogram(edges=[2.0], counts=[5]), title="")), "bar")) == 1


def test_eigenvalues_above_the_noise_edge_are_the_strong_bars() -> None:
    spectrum = Spectrum(
        eigenvalues=[3.0, 1.2, 0.5, 0.3], noise_edge=1.1, above_edge=2, effective_rank=2, participation=2, clipped=0
    )
    bars_ = of_class(parsed(eigenvalues(spectrum)), "bar")
    assert ["weak" in (one.get("class") or "") for one in bars_] == [False, False, True, True]


def test_dots_stand_in_the_order_of_their_values_and_a_missing_one_is_a_dash() -> None:
    rows = [("chosen", Estimate(value=0.2)), ("random", Estimate(value=0.5, low=0.4, high=0.6)), ("all", None)]
    root = parsed(dots(rows, title="t", low=0, high=1, marked="chosen"))
    x = [float(one.get("cx") or 0) for one in of_class(root, "dot")]
    assert x == sorted(x)
    assert len(of_class(root, "range")) == 1
    assert "\u2068–\u2069" in [one.text for one in root.iter()]


def test_groups_over_the_same_bins_are_shares_of_their_own_totals() -> None:
    svg = overlaid([0, 1, 2], [("a", [10, 30]), ("b", [1, 3])], ticks=round_ticks(0, 2), title="t")
    area, line = of_class(parsed(svg), "area")[0], of_class(parsed(svg), "line")[0]
    ys = [re.findall(r"[ML][\d.]+ ([\d.]+)H", one.get("d") or "") for one in (area, line)]
    assert ys[0] == ys[1]


@given(st.floats(-50, 50), st.floats(0.01, 100))
def test_ticks_are_round_and_within_the_range(low: float, span: float) -> None:
    ticks = round_ticks(low, low + span)
    assert 3 <= len(ticks) <= 9
    assert all(low - 1e-9 <= value <= low + span + 1e-9 for value, _ in ticks)
    assert all(float(text.replace("−", "-")) == pytest.approx(value, abs=1e-6) for value, text in ticks)


def test_ticks_of_lengths_are_labelled_with_the_lengths() -> None:
    assert [text for value, text in length_ticks(1.0, 3.0) if 1 <= value <= 3] == [
        "10", "20", "50", "100", "200", "500", "1\u202f000"
    ]  # fmt: skip
    assert all(math.isclose(value, math.log10(int(text.replace("\u202f", "")))) for value, text in length_ticks(0, 6))
