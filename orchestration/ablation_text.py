"""An ablation in words for the console: the plan with its warnings, and the table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.ablation import Ablation
from orchestration.ablation_results import Table
from orchestration.comparisons import Comparison, years
from orchestration.people import FEW_PEOPLE
from orchestration.statistics import Interval, detectable, sign_flip_floor


def design_lines(ablation: Ablation) -> list[str]:
    """What the design is; of a fraction its resolution, generators and aliases."""
    made = ablation.made()
    lines = [f"design {ablation.design}: {', '.join(made.variants)}; base {made.base}"]
    if made.resolution is not None:
        k, p = len(ablation.components), ablation.halvings
        lines.append(f"  2^({k}−{p}) of resolution {made.resolution}: {', '.join(made.generators)}")
        lines += [f"  {e.name} cannot be told from {', '.join(e.aliases)}" for e in made.effects if e.aliases]
    return lines


def power_lines(ablation: Ablation, units: int, overlap: float, sd: float | None, source: str) -> list[str]:
    """The smallest difference that the design can detect, and what it cannot do whatever comes out."""
    family = len(ablation.made().compared) * max(1, len(ablation.datasets))
    alpha = ablation.alpha / family
    word = "split" if overlap else "seed"
    if units < 2:
        return [
            f"warning: one {word} each says that two checkpoints differ, never that a method does;"
            " raise ablation.seeds"
        ]
    lines = []
    smallest = detectable(sd or 1.0, units, alpha, overlap)
    size = f"{years(smallest)} years" if sd is not None else f"{smallest:.2f} sd of paired differences"
    lines.append(
        f"smallest difference that {units} {word}s detect with power .8 at α/m = {ablation.alpha:g}/{family}:"
        f" {size} ({source})"
    )
    if not overlap and family * sign_flip_floor(units) > ablation.alpha:
        lines.append(
            f"warning: m·2/2ⁿ = {family * sign_flip_floor(units):.2g} > α = {ablation.alpha:g}: sign flips"
            f" with Holm over {family} comparisons cannot reject with {units} seeds, whatever comes out;"
            f" {_seeds_needed(family, ablation.alpha)} could"
        )
    return lines


def _seeds_needed(family: int, alpha: float) -> int:
    n = 2
    while family * sign_flip_floor(n) > alpha:
        n += 1
    return n


def people_lines(people: int) -> list[str]:
    """What intervals for new people are worth with so many."""
    if people == 0:
        return ["warning: no identities: intervals for new people are image-level and likely too narrow"]
    if people < FEW_PEOPLE:
        return [f"warning: {people} people in the test part, fewer than {FEW_PEOPLE}: jackknife intervals"]
    return []


def table_lines(table: Table) -> list[str]:
    """The table of one data set for a terminal."""
    title = f"{table.dataset}: " if table.dataset else ""
    people = f" of {table.people} people" if table.people else ""
    lines = [f"{title}test MAE in years, {table.images:,} images{people}; differences to {table.base}"]
    head = (
        "variant",
        f"MAE ± sd ({table.unit}s)",
        "difference",
        f"{100 * table.level:.1f} % interval",
        "new people",
    )
    rows: list[tuple[str, ...]] = [(*head, "p Holm", "p flips", "")]
    for row in table.rows:
        spread = f"{row.mean:.3f} ± {row.sd:.3f} ({row.units})" if row.units > 1 else f"{row.mean:.3f} (one)"
        found = row.comparison
        rows.append((row.variant, spread, *(_cells(found) if found else ("",) * 6)))
    widths = [max(len(row[i]) for row in rows) for i in range(8)]
    lines += ["  " + "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    found = next((row.comparison for row in table.rows if row.comparison), None)
    if found is not None:
        headline = f"; new people: {found.headline_about}" if found.headline is not None else ""
        lines.append(f"  interval: {found.about}{headline}")
    for e in table.effects:
        aliased = f" (or {', '.join(e.aliases)})" if e.aliases else ""
        lines.append(
            f"  effect {e.name}{aliased}: {e.estimate:+.3f} {_text(e.interval)}, p Holm {e.p_holm:.3g}"
        )
    failed = {row.variant: row.failed for row in table.rows if row.failed}
    lines += [f"  {count} cells of {variant} failed" for variant, count in failed.items()]
    return lines + [f"  {note}" for note in table.notes]


def _cells(found: Comparison) -> tuple[str, ...]:
    def p(value: float | None) -> str:
        return "–" if value is None else f"{value:.3g}"

    interval, headline = _text(found.interval), _text(found.headline)
    return f"{found.difference:+.3f}", interval, headline, p(found.p_holm), p(found.p_sign_flip), found.words


def _text(interval: Interval | None) -> str:
    return "–" if interval is None else f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def metrics(tables: Sequence[Table]) -> dict[str, dict[str, float]]:
    """Numbers of each variant for MLflow, by `variant` or `variant-dataset`."""
    found: dict[str, dict[str, float]] = {}
    for table in tables:
        for row in table.rows:
            values = {"test/age_mae_mean": row.mean, "test/age_mae_sd": row.sd, "units": float(row.units)}
            for key, (mean, _) in row.metrics.items():
                values[f"test/{key}_mean"] = mean
            if row.comparison is not None:
                values |= _compared(row.comparison)
            name = "-".join(filter(None, [row.variant, table.dataset]))
            found[name] = {k: v for k, v in values.items() if v == v}
    return found


def _compared(found: Comparison) -> dict[str, float]:
    values = {
        "difference/mean": found.difference,
        "difference/sd": found.sd,
        "difference/p_holm": found.p_holm,
        "difference/p_sign_flip": found.p_sign_flip,
        "difference/detectable": found.detectable,
    }
    for name, interval in (("seeds", found.interval), ("people", found.headline)):
        if interval is not None:
            values |= {f"difference/{name}_low": interval.low, f"difference/{name}_high": interval.high}
    return {key: value for key, value in values.items() if value is not None}
