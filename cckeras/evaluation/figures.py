"""How every plot looks, where things stand in it, and its way to an SVG.

Lengths are points; `WIDTH`, 720 points, is 960 pixels of a browser.
"""

from __future__ import annotations

import io
import math
import re
import warnings

import matplotlib
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 720
# Both have a contrast above 3 on white and on black, and differ for every
# kind of colour vision.
BLUE, ORANGE = "#3a86c8", "#d9730d"
# Stands for the colour of the page's text until the SVG is written.
INK = "#010203"
# From 50 colours on, a colour bar would be pixels in the SVG.
COLOURS = matplotlib.colormaps["cividis"].resampled(48)
LONGEST_NAME = 30

# A decorator; whatever the user's own matplotlibrc says has no effect.
styled = style.context(
    [
        "default",
        {
            "axes.axisbelow": True,
            "axes.edgecolor": INK,
            "axes.facecolor": "none",
            "axes.labelcolor": INK,
            "axes.linewidth": 0.6,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 8,
            "figure.facecolor": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 8,
            "grid.alpha": 0.15,
            "grid.color": INK,
            "grid.linewidth": 0.6,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.2,
            "lines.markersize": 5,
            "svg.fonttype": "none",
            "text.color": INK,
            "text.parse_math": False,
            "xtick.color": INK,
            "xtick.labelsize": 7.5,
            "xtick.major.size": 2,
            "xtick.major.width": 0.6,
            "ytick.color": INK,
            "ytick.labelsize": 7.5,
            "ytick.major.size": 2,
            "ytick.major.width": 0.6,
        },
    ]
)


def new_figure(height: float) -> Figure:
    """Return an empty figure of the common width."""
    return Figure(figsize=(WIDTH / 72, height / 72))


def add_axes(
    figure: Figure, left: float, top: float, width: float, height: float
) -> Axes:
    """Add axes at a distance from the figure's left and upper edge."""
    across, down = figure.get_size_inches() * 72
    bottom = 1 - (top + height) / down
    return figure.add_axes(
        (left / across, bottom, width / across, height / down)
    )


def add_legend(figure: Figure, axes: Axes, left: float) -> None:
    """Write what an axes' colours mean above it, each label once."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(),
        entries.keys(),
        ncols=max(1, len(entries)),
        loc="upper left",
        bbox_to_anchor=(left / WIDTH, 1),
        borderaxespad=0.4,
        borderpad=0,
    )


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name cut to a number of characters."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def row_labels(tasks: dict[str, int]) -> list[str]:
    """Return `["name  number"]`; columns then need the number alone."""
    return [f"{shorten(name)}  {number}" for name, number in tasks.items()]


def label_width(labels: list[str]) -> float:
    """Return the room that row labels need, about."""
    return 12 + 4.6 * max((len(label) for label in labels), default=0)


def rounded_range(values, step: float) -> tuple[float, float]:
    """Return the multiples of a step around the values that are known."""
    known = np.array(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0, 10 * step
    lower = math.floor(round(known.min() / step, 6))
    upper = math.ceil(round(known.max() / step, 6))
    return lower * step, max(upper, lower + 1) * step


def whole_numbers(most: int) -> MaxNLocator:
    """Return a locator of round whole numbers for ticks."""
    return MaxNLocator(most, steps=(1, 2, 5, 10), integer=True, min_n_ticks=1)


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure's SVG, the same byte for byte every time.

    It stands alone as a file; within a page its ink has the colour of the
    page's text.

    Args:
        figure: drawn within `styled`.
        name: unique in the page, and so are then the SVG's ids.
    """
    text = io.StringIO()
    salt = {"svg.hashsalt": name}
    with matplotlib.rc_context(salt), warnings.catch_warnings():
        # The browser's fonts draw the text, whatever Matplotlib's own lack.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(
            text,
            format="svg",
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    _, start, svg = text.getvalue().partition("<svg ")
    # Numbered the same in every SVG, and never referred to.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    return start + svg.replace(INK, "currentColor")
