"""Small charts as inline SVG. Colours come from the page's style sheet, so that they follow light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from rulesel.reporting.svg import canvas, element, label, plain
from rulesel.rules.audit_figures import Estimate, Histogram, Spectrum
from rulesel.rules.audit_warnings import number

SHOWN_EIGENVALUES = 40


def bars(histogram: Histogram, *, width: float = 132.0, height: float = 40.0, title: str) -> Markup:
    """A histogram without axes, its ends labelled; a bar a value stands at the value."""
    counts, edges = histogram.counts, histogram.edges
    if not counts:
        return Markup("")
    top = max(counts)
    low, high = edges[0], edges[-1]
    single = len(edges) == len(counts)
    slot = width / len(counts)
    drawn = []
    for at, count in enumerate(counts):
        tall = (height - 14) * count / top
        thick = slot * 0.78
        x = at * slot + (slot - thick) / 2
        if single and high > low and len(counts) > 1:
            thick = min(slot * 0.78, 10.0)
            x = (width - thick) * (edges[at] - low) / (high - low)
        what = f"{edges[at]:g}" if single else f"{edges[at]:g} to {edges[at + 1]:g}"
        bar = element(
            "rect",
            element("title", f"{what}: {count}"),
            x=x,
            y=height - 13 - tall,
            width=thick,
            height=max(tall, 0.6),
            class_="bar",
        )
        drawn.append(bar)
    drawn.append(element("path", d=f"M0 {plain(height - 12.5)}H{plain(width)}", class_="axis"))
    drawn.append(label(f"{low:g}", 0.0, height - 2, class_="tick"))
    if high > low:
        drawn.append(label(f"{high:g}", width, height - 2, class_="tick", text_anchor="end"))
    return canvas(width, height, *drawn, title=title, class_="chart spark")


def eigenvalues(spectrum: Spectrum, *, width: float = 560.0, height: float = 230.0) -> Markup:
    """Eigenvalues from large to small as bars, those above the noise edge in the accent colour."""
    values = spectrum.eigenvalues[:SHOWN_EIGENVALUES]
    left, bottom, top = 34.0, height - 26, 12.0
    limit = _round_up(max(*values, spectrum.noise_edge, 1.0))
    slot = (width - left) / max(len(values), 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / limit

    drawn = _rules(limit, left, width, y)
    for at, value in enumerate(values):
        drawn.append(
            element(
                "rect",
                element("title", f"{at + 1}: {value:.2f}"),
                x=left + slot * (at + 0.14),
                y=y(value),
                width=slot * 0.72,
                height=max(bottom - y(value), 0.6),
                class_="bar" if value > spectrum.noise_edge else "bar weak",
            )
        )
    edge = y(spectrum.noise_edge)
    drawn.append(element("path", d=f"M{plain(left)} {plain(edge)}H{plain(width)}", class_="limit"))
    drawn.append(label(f"noise edge {spectrum.noise_edge:.2f}", width, edge - 5, class_="note", text_anchor="end"))
    step = 1 if len(values) <= 12 else 5
    for at in range(len(values)):
        if at == 0 or (at + 1) % step == 0:
            drawn.append(label(str(at + 1), left + slot * (at + 0.5), bottom + 14, class_="tick", text_anchor="middle"))
    title = f"{spectrum.above_edge} of {len(spectrum.eigenvalues)} eigenvalues lie above the noise edge"
    return canvas(width, height, *drawn, title=title)


def dots(rows: Sequence[tuple[str, Estimate | None]], *, title: str, low: float, high: float, marked: str) -> Markup:
    """A strip of estimates: a dot a row, a line for the range of its draws, the value at the right."""
    width, slot, left, right = 300.0, 21.0, 62.0, 40.0
    height = slot * len(rows) + 6
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return left + (width - left - right) * (min(max(value, low), high) - low) / span

    drawn = []
    for at, (name, estimate) in enumerate(rows):
        y = slot * (at + 0.5) + 3
        kind = "chosen" if name == marked else "other"
        drawn.append(label(name, left - 10, y + 4, class_=f"name {kind}", text_anchor="end"))
        drawn.append(element("path", d=f"M{plain(left)} {plain(y)}H{plain(width - right)}", class_="grid"))
        if estimate is None:
            drawn.append(label("–", width, y + 4, class_="tick", text_anchor="end"))
            continue
        if estimate.low is not None and estimate.high is not None:
            d = f"M{plain(x(estimate.low))} {plain(y)}H{plain(x(estimate.high))}"
            drawn.append(element("path", d=d, class_=f"range {kind}"))
        drawn.append(element("circle", cx=x(estimate.value), cy=y, r=4.0, class_=f"dot {kind}"))
        drawn.append(label(number(estimate.value), width, y + 4, class_=f"value {kind}", text_anchor="end"))
    return canvas(width, height, *drawn, title=title, class_="chart strip")


def overlaid(
    edges: Sequence[float],
    groups: Sequence[tuple[str, Sequence[int]]],
    *,
    ticks: Sequence[tuple[float, str]],
    title: str,
    width: float = 560.0,
    height: float = 220.0,
) -> Markup:
    """Shares of several groups over the same bins: the first as an area, the others as lines.

    Args:
        edges: of the bins.
        groups: names and counts.
        ticks: places on the axis with their labels.
        title: read aloud.
        width: pixels.
        height: pixels.
    """
    left, bottom, top = 34.0, height - 26, 10.0
    shares = [(name, [count / max(sum(counts), 1) for count in counts]) for name, counts in groups]
    limit = _round_up(max((max(values) for _, values in shares if values), default=1.0))
    span = (edges[-1] - edges[0]) or 1.0

    def x(value: float) -> float:
        return left + (width - left) * (value - edges[0]) / span

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / limit

    drawn = _rules(limit, left, width, y, percent=True)
    for place, (name, values) in enumerate(shares):
        line = "".join(
            f"{'M' if at == 0 else 'L'}{plain(x(edges[at]))} {plain(y(value))}H{plain(x(edges[at + 1]))}"
            for at, value in enumerate(values)
        )
        if place == 0:
            area = f"M{plain(left)} {plain(bottom)}L{line[1:]}V{plain(bottom)}Z"
            drawn.append(element("path", element("title", name), d=area, class_="area"))
        else:
            drawn.append(element("path", element("title", name), d=line, class_=f"line line{place}"))
    for value, text in ticks:
        if edges[0] <= value <= edges[-1]:
            drawn.append(label(text, x(value), bottom + 15, class_="tick", text_anchor="middle"))
    return canvas(width, height, *drawn, title=title)


def round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Four to eight round numbers within a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4)) if high > low else 1.0
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 8)
    first = math.ceil(low / step)
    values = [at * step for at in range(first, math.floor(high / step) + 1)]
    return [(value, f"{round(value, 10):g}".replace("-", "−")) for value in values]


def length_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """1, 2, 5 times powers of ten within a range of decimal logarithms, labelled as the numbers they stand for."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    wide = high - low > 3
    numbers = [factor * 10**power for power in powers for factor in ((1,) if wide else (1, 2, 5)) if power >= 0]
    return [(math.log10(value), f"{value:,}".replace(",", "\u202f")) for value in numbers]


def _rules(
    limit: float, left: float, width: float, y: Callable[[float], float], *, percent: bool = False
) -> list[Markup]:
    """Horizontal lines at four heights, with their values."""
    drawn = []
    for part in range(5):
        value = limit * part / 4
        at = y(value)
        drawn.append(
            element("path", d=f"M{plain(left)} {plain(at)}H{plain(width)}", class_="axis" if part == 0 else "grid")
        )
        text = f"{value:.0%}" if percent else f"{value:g}"
        drawn.append(label(text, left - 6, at + 3.5, class_="tick", text_anchor="end"))
    return drawn


def _round_up(value: float) -> float:
    """The next number above of which the quarters are short."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    steps = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value * (1 - 1e-9))
