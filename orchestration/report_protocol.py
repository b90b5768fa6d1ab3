"""What every number of a report is measured on: its protocol in a line, and published numbers beside it."""

from __future__ import annotations

from data.faces import Faces
from orchestration import published
from orchestration.audit_line import audit_line
from orchestration.layers import flatten
from orchestration.predictions import Origin
from orchestration.published import Published
from orchestration.report_numbers import mean_of
from orchestration.report_study import Reported, Section, Variant
from orchestration.report_tables import Table

SHORT = 12  # digits of a hash that are shown


def line(run: Reported) -> str:
    """Data set, protocol, split and decoding of a run's test numbers, in one line."""
    config = run.config
    if run.test is None:
        data, protocol = str(config.get("data.root")), str(config.get("data.protocol"))
        return f"{data}, {protocol}, split hash not kept; decoding {decoding(run)}"
    split = f"split {run.test.origin.split_hash[:SHORT]}, {len(run.test):,} test images"
    return _line(run, run.test.origin, {"protocol"}, split)


def lines(variant: Variant) -> list[tuple[str, Reported]]:
    """`line` of each run of a variant; one for all where the test parts of its folds are pooled."""
    tests = list(variant.tests.values())
    if not variant.pooled or not tests:
        return [(line(run), run) for run in variant.runs]
    folds = {run.test.origin.split_hash for run in variant.runs if run.test is not None}
    split = f"{len(folds)} folds, {len(tests[0]):,} test images pooled"
    return [(_line(variant.first, tests[0].origin, {"protocol", "fold"}, split), variant.first)]


def _line(run: Reported, origin: Origin, left_out: set[str], split: str) -> str:
    settings = {k: v for k, v in flatten(origin.protocol).items() if k not in left_out}
    said = ", ".join(f"{key.replace('.', ' ')} {value}" for key, value in settings.items())
    return (
        f"{origin.data} (fingerprint {origin.fingerprint[:SHORT]}), {origin.protocol['protocol']}"
        f"{f' ({said})' if said else ''}, {split}; {decoding(run)}; epoch chosen on validation"
    )


def decoding(run: Reported) -> str:
    """The age head, and how it is read as an age where that can be chosen."""
    head, how = run.config.get("model.age_head.name"), run.config.get("model.age_head.decode")
    return f"age head {head}{f' decoded by {how}' if how else ''}, not rounded"


def trained_on(run: Reported) -> str:
    """The backbone and where its weights are from, as far as the run knows."""
    backbone, weights = (run.config.get(f"model.backbone.{key}") for key in ("name", "weights"))
    start = f"weights from {str(weights).rsplit('/', 1)[-1]}" if weights else "random weights"
    frozen = "frozen" if run.config.get("model.train_backbone") is False else "fine-tuned"
    return f"{backbone}, {start}, {frozen}"


def protocols(section: Section) -> Table:
    """A row for each protocol that the section's variants were measured under, and what is known of leaks."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    reasons = []
    for variant in section.variants:
        for said, run in lines(variant):
            audit = run.member.audit
            rows.setdefault((said, trained_on(run), audit_line(audit)), []).append(variant.name)
            reasons += [f"Leaks: {audit['reasons']}."] if audit.get("reasons") else []
    shown = [[", ".join(dict.fromkeys(names)), *cells] for cells, names in rows.items()]
    columns = ["variants", "measured on", "backbone", "leaks"]
    return Table("Protocol", columns, shown, list(dict.fromkeys(reasons)), text=True)


def beside(section: Section, faces: Faces | None) -> Table | None:
    """Published numbers of the same data set, each comparable or with its first mismatch; ours first."""
    best = section.variants[0].first
    reader = faces.manifest.reader if faces is not None else _reader(best)
    rows = published.of(reader)
    if not rows:
        return None
    shown: list[list[str]] = []
    said: list[str] = []
    for variant in section.variants:
        found = mean_of(variant.metrics, "age_mae")
        assert found is not None
        ours = [lines(variant)[0][0], trained_on(variant.first)]
        shown.append(
            [f"ours: {variant.name}", f"{found[0]:.2f}", *(["as above", ""] if ours == said else ours), ""]
        )
        said = ours
    for row in rows:
        cells = published.cells(row)
        shown.append([row.method, cells[1], cells[3], cells[4], f"{mismatch(row, best)} [{cells[6]}]"])
    columns = ["method", "MAE", "protocol and split", "trained on", "comparable"]
    note = (
        "A published number is comparable only where data, ages, alignment, split, training sets, selection"
    )
    return Table(f"Published numbers on {reader}", columns, shown, [f"{note} and decoding match."], text=True)


def mismatch(row: Published, run: Reported) -> str:
    """The first respect in which a published number differs from a run, or of which file it is comparable."""
    protocol = str(run.config.get("data.protocol"))
    ages = run.config.get("data.ages")
    recorded = row.mismatch or ""
    for early in ("data", "age range", "alignment"):
        if recorded.startswith(early):
            return recorded
    if ages is not None:
        return f"age range: ours is {ages[0]} to {ages[1]}"
    if row.protocol != protocol:
        return f"split: {row.protocol}, ours is {protocol}"
    if recorded.startswith("split"):
        return recorded
    if run.config.get("model.train_backbone") is False:
        return "training sets: our backbone is frozen and was not trained on these faces"
    if recorded:
        return recorded
    # The list compares with our study files; whether a run is of one, only its reader can tell.
    return f"comparable if this is {row.ours}" if row.ours else "training sets: theirs are not ours"


def _reader(run: Reported) -> str:
    return run.test.origin.data if run.test is not None else ""
