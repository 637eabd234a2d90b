"""The plot of tools/benchmark_tflite.py."""

from __future__ import annotations

from cckeras.evaluation.figures import (
    BLUE,
    add_axes,
    label_width,
    new_figure,
    shorten,
    styled,
    to_svg,
)

ROW = 22


@styled
def latencies(milliseconds: dict[str, float]) -> str:
    """Draw a bar for each median latency; return the SVG.

    Args:
        milliseconds: `{label: median}`, in order.
    """
    labels = [shorten(label, 40) for label in milliseconds]
    left = label_width(labels)
    height = ROW * len(labels)
    figure = new_figure(height + 60)
    axes = add_axes(figure, left, 24, 700 - left, height)
    values = list(milliseconds.values())
    bars = axes.barh(labels, values, color=BLUE, height=0.7)
    axes.bar_label(bars, [f" {value:.2f}" for value in values])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("milliseconds an image, median")
    return to_svg(figure, "latencies")
