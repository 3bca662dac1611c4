"""The correlations of the rules as one picture: a matrix ordered by similarity, and the tree that ordered it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from rulesel.reporting.svg import canvas, element, label, plain, shortened
from rulesel.rules.audit_figures import CorrelationMap

SIDE = 560.0
"""Pixels of the matrix."""
NAMES = 268.0
TREE = 110.0
GAP = 8.0
NAMED = 60
"""Up to this many rules each row has its name; beyond, the chosen ones only."""
LINE = 12.5
"""Least distance between two names."""
POSITIVE, NEGATIVE = (38, 112, 150), (201, 98, 38)
"""Colours of correlation 1 and −1; the smaller, the more transparent, so that it works on any background."""


def heat_map(figures: CorrelationMap, names: Sequence[str], chosen: Sequence[int]) -> Markup:
    """Matrix with names at its left and the dendrogram at its right.

    Args:
        figures: order, correlations and joins.
        names: of all rules.
        chosen: rules that are marked with their place in the order of choice.
    """
    count = len(figures.order)
    cell = min(SIDE / max(count, 1), 40.0)
    side = cell * count
    height = max(side, LINE * min(count, len(chosen))) + 2 * GAP
    picture = element(
        "image",
        href=picture_of(np.array(figures.correlation, dtype=np.float64).reshape(count, count)),
        x=NAMES,
        y=GAP,
        width=side,
        height=side,
        class_="pixels",
        preserveAspectRatio="none",
    )
    return canvas(
        NAMES + side + TREE + 2 * GAP,
        height,
        *_names(figures.order, names, chosen, cell),
        picture,
        element("rect", x=NAMES, y=GAP, width=side, height=side, class_="frame", data_cells=str(count)),
        element(
            "path", d=_tree(figures, cell, NAMES + side + GAP), class_="tree" if count <= 2 * NAMED else "tree fine"
        ),
        title=f"Correlations of {count} rules, ordered by similarity",
        class_="chart map",
    )


def picture_of(correlation: npt.NDArray[np.float64]) -> str:
    """Data address of a PNG, one pixel a cell."""
    levels = np.clip(np.rint(100 * correlation) + 100, 0, 200).astype(np.uint8)
    colours = bytes(channel for level in range(201) for channel in (POSITIVE if level >= 100 else NEGATIVE))
    opacity = bytes(round(255 * abs(level - 100) / 100) for level in range(201))
    height, width = levels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", colours),
            _chunk(b"tRNS", opacity),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def packed(correlation: Sequence[Sequence[float]]) -> str:
    """The matrix in hundredths, one signed byte a cell, base64: what the page reads under the pointer."""
    return base64.b64encode(np.rint(100 * np.array(correlation)).astype(np.int8).tobytes()).decode()


def _names(order: Sequence[int], names: Sequence[str], chosen: Sequence[int], cell: float) -> list[Markup]:
    place = {rule: at + 1 for at, rule in enumerate(chosen)}
    shown = [at for at, rule in enumerate(order) if len(order) <= NAMED or rule in place]
    drawn: list[Markup] = []
    for at, y in zip(shown, _apart([GAP + (at + 0.5) * cell for at in shown]), strict=True):
        rule, middle = order[at], GAP + (at + 0.5) * cell
        kind = "name chosen" if rule in place else "name"
        text = shortened(names[rule], 34 if rule in place else 38)
        drawn.append(label(text, NAMES - 24, y + 3.5, class_=kind, text_anchor="end"))
        if rule in place:
            drawn.append(label(str(place[rule]), NAMES - 13, y + 3.5, class_="place", text_anchor="middle"))
        if abs(y - middle) > 1:
            d = f"M{plain(NAMES - 6)} {plain(y)}L{plain(NAMES - 1)} {plain(middle)}"
            drawn.append(element("path", d=d, class_="tree"))
    return drawn


def _apart(places: list[float]) -> list[float]:
    """The places moved as little as needed to stand `LINE` apart: pooled neighbours share their displacement."""
    groups: list[tuple[float, int]] = []  # sum of the wished first places, members
    for wish in places:
        groups.append((wish, 1))
        while len(groups) > 1 and _start(groups[-2]) + LINE * groups[-2][1] > _start(groups[-1]):
            total, members = groups.pop()
            before, first = groups.pop()
            groups.append((before + total - LINE * first * members, first + members))
    return [_start(group) + LINE * at for group in groups for at in range(group[1])]


def _start(group: tuple[float, int]) -> float:
    return group[0] / group[1]


def _tree(figures: CorrelationMap, cell: float, x: float) -> str:
    """Path of the dendrogram: leaves at the left, the distance 1 − |c| from left to right."""
    count = len(figures.order)
    middle = [GAP + (at + 0.5) * cell for at in range(count)]
    reach = [0.0] * count
    path = []
    for merge in figures.merges:
        right = x + merge.height * TREE
        a, b = middle[merge.left], middle[merge.right]
        path.append(
            f"M{plain(x + reach[merge.left] * TREE)} {plain(a)}H{plain(right)}V{plain(b)}"
            f"H{plain(x + reach[merge.right] * TREE)}"
        )
        middle.append((a + b) / 2)
        reach.append(merge.height)
    return "".join(path)
