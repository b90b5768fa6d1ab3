"""A study's report before it is printed: for every data set its tables, figures and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestration import report_faces, report_figures, report_judgement, report_protocol, report_tables
from orchestration.report_faces import Sheet
from orchestration.report_figures import Drawn
from orchestration.report_study import Reading, Section
from orchestration.report_tables import Table


@dataclass(frozen=True)
class Part:
    """What a report says of one data set."""

    title: str
    tables: list[Table]
    figures: list[Drawn]


@dataclass(frozen=True)
class Report:
    """All of a report; `sheets` hold faces, which nobody may publish."""

    title: str
    summary: list[str]
    parts: list[Part]
    sheets: list[Sheet] = field(default_factory=list)


def build(reading: Reading, faces: bool) -> Report:
    """The report of a study; faces only if they are asked for."""
    parts = [_part(section, reading, str(i + 1)) for i, section in enumerate(reading.sections)]
    return Report(
        f"{reading.name}: {reading.kind}",
        _summary(reading),
        parts,
        report_faces.sheets(reading) if faces else [],
    )


def _summary(reading: Reading) -> list[str]:
    runs = sum(len(v.runs) for s in reading.sections for v in s.variants)
    said = [f"{runs} finished runs; {reading.test_evaluations} test evaluations in the study's ledger."]
    if reading.unfinished:
        said.append(f"{reading.unfinished} runs have not finished or failed: the tables are not complete.")
    if reading.kind == "search":
        said.append("Final seeds of the search's best trials; the base is the one that validation prefers.")
    return said


def _part(section: Section, reading: Reading, number: str) -> Part:
    first = next((v.first for v in section.variants if v.tests), None)
    faces = None if first is None else report_faces.opened(first)
    labels = report_faces.labels(section.variants)
    identities = [] if labels is None else labels["identity"].to_pylist()
    judgement = report_judgement.of(section, reading, identities)
    tables = [report_tables.accuracy(section)]
    if judgement is not None:
        tables.append(report_tables.comparison(judgement))
        tables += [report_tables.effects(judgement)] if judgement.effects else []
    tables.append(report_protocol.protocols(section))
    published = report_protocol.beside(section, faces)
    tables += [published] if published is not None else []
    tables += report_tables.groups(section, labels)
    compared = {} if judgement is None else judgement.comparisons
    prefix = f"{number}-" if len(reading.sections) > 1 else ""
    return Part(section.title, tables, report_figures.draw(section, compared, prefix))
