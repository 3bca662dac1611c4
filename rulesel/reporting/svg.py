"""SVG as escaped strings: what is not `Markup` is text and gets escaped."""

from __future__ import annotations

from markupsafe import Markup, escape

from rulesel.visible import visible


def shortened(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """An element; `class_` is class, an underscore is a hyphen, None leaves an attribute out."""
    written = []
    for key, value in attributes.items():
        if value is None:
            continue
        text = plain(value) if isinstance(value, float) else str(value)
        written.append(Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), text))
    inside = Markup("").join(escape(child) for child in children)
    tag = Markup(name)
    return Markup("<{}{}>{}</{}>").format(tag, Markup("").join(written), inside, tag)


def label(text: str, x: float, y: float, **attributes: str | float | None) -> Markup:
    """Text at a place; its direction does not leak into its neighbours."""
    return element("text", f"\u2068{text}\u2069", x=x, y=y, **attributes)


def canvas(width: float, height: float, *children: Markup, title: str, class_: str = "chart") -> Markup:
    """An SVG in its natural size, shrinking where there is less room; the title is read aloud."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {plain(width)} {plain(height)}",
        width=plain(width),
        height=plain(height),
        role="img",
        class_=class_,
    )


def plain(value: float) -> str:
    """A coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
