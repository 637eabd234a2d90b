"""Rows of pictures with captions, drawn into one SVG."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from cckeras.evaluation.figures import (
    WIDTH,
    add_axes,
    new_figure,
    shorten,
    styled,
    to_svg,
)

ACROSS, SIDE, TITLE, LINE = 6, 96, 18, 10
# Pixels of a picture in the page: twice a point's, for fine screens.
MOST_PIXELS = 2 * SIDE
LONGEST_LINE = 22


@styled
def picture_rows(
    rows: dict[str, list[tuple[np.ndarray, list[str]]]], name: str
) -> str:
    """Draw pictures under the title of their row.

    Args:
        rows: `{title: [(picture uint8 [H, W, 3], lines of its caption)]}`.
        name: unique in the page.
    """
    lines = max(len(text) for row in rows.values() for _, text in row)
    pitch = SIDE + LINE * lines + 8
    heights = {
        title: TITLE + pitch * math.ceil(len(row) / ACROSS)
        for title, row in rows.items()
    }
    figure, top = new_figure(sum(heights.values())), 0
    for title, row in rows.items():
        for place, (picture, text) in enumerate(row):
            down, across = divmod(place, ACROSS)
            axes = add_axes(
                figure,
                across * WIDTH / ACROSS,
                top + TITLE + down * pitch,
                SIDE,
                SIDE,
            )
            axes.set_axis_off()
            axes.imshow(_small(picture), interpolation="none")
            if place == 0:
                axes.set_title(title, pad=4)
            for number, line in enumerate(text, 1):
                axes.annotate(
                    shorten(line, LONGEST_LINE),
                    (0, -number * LINE),
                    xycoords="axes points",
                    fontsize=7,
                )
        top += heights[title]
    return to_svg(figure, name)


def _small(picture):
    """Return a picture that is not larger than the page shows."""
    if max(picture.shape[:2]) <= MOST_PIXELS:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS))
    return np.asarray(image)
