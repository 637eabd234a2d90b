"""A document of tables, plots and commands, as one HTML file or as Markdown."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

STYLE = """
:root { color-scheme: light dark;
  --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --page: #ffffff;
  --shade: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #d8dee4; --soft: #9198a1; --line: #3d444d; --page: #16181c;
  --shade: #1e2126; } }
body { max-width: 1000px; margin: 2.5rem auto; padding: 0 1.25rem;
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--page); }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p { margin: .4rem 0; color: var(--soft); }
section { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .4rem; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: top; white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; white-space: normal; }
th.text, td.text { text-align: left; white-space: normal;
  max-width: 26rem; overflow-wrap: break-word; }
th:first-child, td:first-child { padding-left: 0; }
pre { padding: .8rem 1rem; font-size: 13px; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--shade);
  border: 1px solid var(--line); border-radius: 4px; }
svg { display: block; max-width: 100%; height: auto; }
"""


@dataclass(frozen=True)
class Table:
    """A table of ready-made texts.

    Args:
        title: of its section.
        header: names of the columns.
        rows: a text per column.
        note: a sentence below.
        texts: how many of the first columns hold text, not numbers.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""
    texts: int = 1

    def to_html(self) -> str:
        """Return the table's HTML."""
        lines = ["<table>", f"<thead>{self._row('th', self.header)}</thead>"]
        lines += ["<tbody>", *(self._row("td", row) for row in self.rows)]
        return "\n".join([*lines, "</tbody>", "</table>"])

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        sides = [
            ":--" if n < self.texts else "--:" for n in range(len(self.header))
        ]
        rows = [[_markdown(cell) for cell in row] for row in self.rows]
        return "\n".join(
            f"| {' | '.join(row)} |" for row in (self.header, sides, *rows)
        )

    def _row(self, tag, cells):
        texts = [f'<{tag} class="text">'] * self.texts
        numbers = [f"<{tag}>"] * (len(cells) - self.texts)
        marked = (
            f"{start}{html.escape(cell)}</{tag}>"
            for start, cell in zip(texts + numbers, cells, strict=True)
        )
        return f"<tr>{''.join(marked)}</tr>"


@dataclass(frozen=True)
class Plot:
    """A plot: the name of its file beside the Markdown, and its SVG."""

    title: str
    file: str
    svg: str
    note: str = ""

    def to_html(self) -> str:
        """Return the SVG for a page: HTML needs no XML namespaces."""
        label = html.escape(self.title)
        svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", self.svg)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)

    def to_markdown(self) -> str:
        """Return a reference to the file."""
        return f"![{_markdown(self.title)}]({self.file})"

    def to_file(self) -> str:
        """Return the SVG on a page's white, whatever shows it."""
        page = '<svg style="background: #ffffff; color: #1f2328" '
        return self.svg.replace("<svg ", page, 1)


@dataclass(frozen=True)
class Command:
    """A command line to be copied."""

    title: str
    text: str
    note: str = ""

    def to_html(self) -> str:
        """Return the command's HTML."""
        return f"<pre>{html.escape(self.text)}</pre>"

    def to_markdown(self) -> str:
        """Return the command as a block of code."""
        return f"```sh\n{self.text}\n```"


Part = Table | Plot | Command


def html_document(title: str, lead: str, parts: list[Part]) -> str:
    """Return one self-contained HTML file: no scripts, nothing to load."""
    sections = "\n".join(
        f"<h2>{html.escape(part.title)}</h2>\n<section>\n{part.to_html()}\n"
        f"</section>\n<p>{html.escape(part.note)}</p>"
        for part in parts
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(lead)}</p>
{sections}
</body>
</html>
"""


def markdown_document(title: str, lead: str, parts: list[Part]) -> str:
    """Return the same document in Markdown; its plots are files beside it."""
    blocks = [f"# {_markdown(title)}", _markdown(lead)]
    for part in parts:
        blocks += [f"## {_markdown(part.title)}", part.to_markdown()]
        blocks += [_markdown(part.note)] if part.note else []
    return "\n\n".join(blocks) + "\n"


def _markdown(text):
    """Escape what Markdown or its HTML would take for markup."""
    text = html.escape(text, quote=False)
    return re.sub(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w))", r"\\\1", text)
