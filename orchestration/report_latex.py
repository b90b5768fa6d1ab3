"""A report as a LaTeX document with booktabs; figures are PNG files beside it."""

from __future__ import annotations

from orchestration.report_build import Report
from orchestration.report_tables import Table

_HEAD = r"""% pdflatex report.tex
\documentclass[a4paper,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern,textcomp,booktabs,graphicx,array}
\usepackage[margin=2cm]{geometry}
% A table that is wider than the page is made smaller, none is made larger.
\newsavebox{\fitted}
\newcommand{\fit}[1]{\sbox{\fitted}{#1}\ifdim\wd\fitted>\linewidth\resizebox{\linewidth}{!}{\usebox{\fitted}}%
\else\usebox{\fitted}\fi}
\begin{document}
"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#{}"},
    "_": r"\_\allowbreak{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "−": r"\ensuremath{-}",
    "→": r"\ensuremath{\rightarrow}",
    "λ": r"\ensuremath{\lambda}",
    "μ": r"\ensuremath{\mu}",
    "Δ": r"\ensuremath{\Delta}",
    "α": r"\ensuremath{\alpha}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "–": "--",
    "…": r"\ldots{}",
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
}


def document(report: Report, figures: str) -> str:
    """The document; `figures` is the folder of the PNGs as seen from it."""
    lines = [
        _HEAD,
        rf"\section*{{{escaped(report.title)}}}",
        *(escaped(line) + "\n" for line in report.summary),
    ]
    for part in report.parts:
        lines += [rf"\section*{{{escaped(part.title)}}}"] if part.title else []
        for table in part.tables:
            lines += _table(table)
        for drawn in part.figures:
            lines += [
                r"\begin{figure}[htbp]\centering",
                rf"\includegraphics[width=0.75\linewidth]{{{figures}/{drawn.name}.png}}",
                rf"\caption{{{escaped(drawn.title)}. {escaped(drawn.caption)}}}",
                r"\end{figure}",
            ]
    return "\n".join([*lines, r"\end{document}", ""])


def _table(table: Table) -> list[str]:
    columns = "l" + "r" * (len(table.columns) - 1)
    if table.text:  # sentences wrap, in columns as wide as the root of what they hold
        roots = [
            max(len(row[i]) for row in (table.columns, *table.rows)) ** 0.5 for i in range(len(table.columns))
        ]
        widths = [17 * root / sum(roots) for root in roots]
        columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width:.1f}cm}}" for width in widths)
    elif table.columns[-1] == "verdict":
        columns = columns[:-1] + "l"
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    return [
        r"\begin{table}[htbp]\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\fit{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escaped, table.columns)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip\footnotesize\raggedright " + escaped(" ".join(table.notes)),
        r"\end{table}",
    ]


def escaped(text: str) -> str:
    """Text as LaTeX prints it; letters it has no name for are left to inputenc."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
