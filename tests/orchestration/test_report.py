"""Reports: numbers rebuilt from kept predictions, pages that stand alone, mistakes said in one message."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from model.metrics import Metrics
from orchestration import report_numbers, report_protocol, report_study
from orchestration.errors import UserError
from orchestration.predictions import Origin, Predictions, from_columns
from orchestration.published import Published
from orchestration.records import Member
from orchestration.report import report
from orchestration.report_latex import escaped
from orchestration.report_paint import INK
from orchestration.report_protocol import mismatch
from tests.orchestration import finished

Command = Callable[..., subprocess.CompletedProcess[str]]


def kept(predicted: list[float], age: list[float], **columns: list[float]) -> Predictions:
    """Predictions of a few samples; gender codes and other columns where given."""
    n = len(age)
    given = {"sample_id": np.arange(n), "age": np.array(age), "predicted_age": np.array(predicted)}
    given |= {"position_age": np.full(n, np.nan), "female_probability": np.full(n, np.nan)}
    given |= {"gender": np.full(n, -1)} | {k: np.array(v) for k, v in columns.items()}
    return from_columns(Origin("test", "x", "f", {"protocol": "p"}, "h", {}, "i", 0, 1), given)


def test_metrics_from_rows_are_those_of_the_training_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    age = torch.randint(0, 90, (500,), generator=generator).double()
    # Steps of a quarter year put errors on the bounds of 5 years and of rounding.
    predicted = age + torch.randint(-40, 40, (500,), generator=generator) / 4
    logits = torch.randint(-2, 3, (500, 2), generator=generator).double()
    gender = torch.randint(-1, 2, (500,), generator=generator)
    theirs = Metrics()
    theirs.add(predicted, age, logits, gender)
    female = logits.softmax(1)[:, 1]
    ours = report_numbers.metrics(
        kept(predicted.tolist(), age.tolist(), gender=gender.tolist(), female_probability=female.tolist())
    )
    assert ours == pytest.approx(theirs.compute(), rel=1e-14)


def test_cumulative_scores_agreement_and_bias_by_hand() -> None:
    error = np.array([0.0, -1.0, 1.5, 3.0, -20.0])
    scores = report_numbers.cumulative_scores(error)
    assert scores[:4].tolist() == [20, 40, 60, 80] and scores[15] == 80
    sure = kept([30, 30, 30], [30, 30, 30], position_age=[30, 32, 41])
    assert report_numbers.agreement(sure) == [1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert report_numbers.agreement(kept([30], [30])) is None
    ages = np.array([20.0] * 20 + [24.0] * 20 + [25.0] * 19)
    middles, bias = report_numbers.bias_by_age(ages, np.array([1.0] * 20 + [3.0] * 39))
    assert middles.tolist() == [22.5] and bias.tolist() == [2.0]  # 19 faces of 25 years are too few


def test_groups_cover_every_image_once() -> None:
    ages = np.array([0, 9.9, 10, 69.5, 70, 104.0])
    groups = report_numbers.age_groups(ages)
    assert list(groups) == ["0–9", "10–19", "60–69", "70 and over"]
    assert sum(groups.values()).tolist() == [1] * 6  # type: ignore[union-attr]
    named = report_numbers.named_groups(["F", None, "M", "F"])
    assert {k: v.tolist() for k, v in named.items()} == {
        "F": [True, False, False, True], "M": [False, False, True, False],
        "not labelled": [False, True, False, False],
    }  # fmt: skip
    assert report_numbers.named_groups([None, None]) == {}


def test_folds_of_a_seed_are_pooled_and_an_unfinished_seed_is_left_out(cache: Path, tmp_path: Path) -> None:
    plan = {"design": "explicit", "variants": {"a": {}}, "splits": "folds"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"ablation": plan}))
    errors = []
    for seed, folds in ((0, (0, 1)), (1, (0,))):
        for fold in folds:
            cell = {"variant": "a", "dataset": "", "split": fold}
            member = Member(f"cells/a-fold{fold}-seed{seed}", seed=seed, cell=cell)
            found = finished.put_run(tmp_path, member, 3.0, split_seed=fold)
            ids = report_study.read(str(tmp_path)).sections[0].variants[0].runs[-1].test.column("sample_id")
            errors += [dict(zip(ids.tolist(), found, strict=True))] if seed == 0 else []
    variant = report_study.read(str(tmp_path)).sections[0].variants[0]
    assert len(variant.runs) == 3 and len(variant.metrics) == 1
    once = {**errors[1], **errors[0]}
    assert variant.metrics[0]["count"] == len(once)
    assert variant.metrics[0]["age_mae"] == pytest.approx(np.mean(np.abs(list(once.values()))))
    (measured,) = [said for said, _ in report_protocol.lines(variant)]
    assert f"2 folds, {len(once)} test images pooled" in measured


def test_a_published_number_names_its_first_mismatch() -> None:
    def published(**values: object) -> Published:
        known = {"dataset": "x", "method": "m", "mae": 4, "trained_on": "x", "tested_on": "x", "source": "s"}
        return Published.model_validate({**known, "protocol": "image_random", **values})

    tuned = {"data.protocol": "image_random"}
    for row, config, said in [
        (published(mismatch="data and count: duplicates kept"), {}, "data and count: duplicates kept"),
        (published(protocol="folds"), tuned, "split: folds, ours is image_random"),
        (published(), {**tuned, "data.ages": [15, 40]}, "age range: ours is 15 to 40"),
        (published(mismatch="split: another list"), tuned, "split: another list"),
        (published(ours="a.yaml"), {**tuned, "model.train_backbone": False}, "training sets: our backbone"),
        (published(mismatch="decoding: rounded"), tuned, "decoding: rounded"),
        (published(), tuned, "training sets: theirs are not ours"),
        (published(ours="paper/a.yaml"), tuned, "comparable if this is paper/a.yaml"),
    ]:
        run = report_study.Reported(Member("single/a"), config, [], {}, None)
        assert mismatch(row, run).startswith(said)


class Links(HTMLParser):
    """Collects what a page would load or open."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.found += [v or "" for k, v in attributes if k in ("src", "href", "xlink:href", "data", "srcset")]
        self.ids += [named["id"]] if named.get("id") else []


@pytest.fixture(scope="module")
def reported(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of an ablation, faces and all, made as a user does."""
    root = finished.ablation(tmp_path_factory.mktemp("reports") / "ablation")
    command = [sys.executable, "-X", "importtime", "-m", "orchestration.report", str(root)]
    done = subprocess.run(
        [*command, "--out", str(root / "out")], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "pyarrow" in imported and not {"torch", "ray", "optuna", "mlflow"} & imported
    return root / "out"


def test_the_page_stands_alone_in_light_and_dark(reported: Path) -> None:
    text = (reported / "report.html").read_text()
    links = Links()
    links.feed(text)
    assert all(link.startswith("#") for link in links.found)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert len(links.ids) == len(set(links.ids))  # or one figure draws with another's shapes
    assert text.count("<svg") == 5 and "prefers-color-scheme: dark" in text
    assert "currentColor" in text and INK not in text
    assert "do not publish" not in text.lower()


def test_tables_hold_what_was_measured(reported: Path) -> None:
    text = (reported / "report.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    study = report_study.read(str(reported.parent))
    section = study.sections[0]
    assert [v.name for v in section.variants] == list(finished.VARIANTS) and section.base == "evr"
    accuracy = text.split("### Test accuracy")[1].split("###")[0]
    for variant in section.variants:
        maes = [row["age_mae"] for row in variant.metrics]
        assert f"{np.mean(maes):.3f} ± {np.std(maes, ddof=1):.3f}" in accuracy
    against = text.split("### Against evr")[1].split("### Protocol")[0]
    gap = [
        f["age_mae"] - e["age_mae"]
        for f, e in zip(section.variants[0].metrics, section.variants[1].metrics, strict=True)
    ]
    assert f"| fc | {np.mean(gap):+.3f} |" in against and "worse by 1.97" in against
    assert "Looked at with 2, 3 seeds" in against and "Cells of fc that failed: 1." in against
    assert "splits: leak; fine-tuning data: none found; pretraining: cannot be determined" in text
    assert "15 test evaluations" in text and "image_random" in text and "not evidence for fine-tuning" in text
    assert "| F |" in text and rows["mean of groups"]
    for name in re.findall(r"\((figures/[a-z0-9-]+\.png)\)", text):
        assert (reported / name).read_bytes().startswith(b"\x89PNG")
        assert (reported / name).with_suffix(".svg").read_text().lstrip().startswith("<?xml")


def test_latex_compiles_or_is_balanced(reported: Path) -> None:
    source = (reported / "report.tex").read_text()
    body = source.split(r"\begin{document}")[1]
    plain = re.sub(r"\\.", "", body)
    assert plain.count("{") == plain.count("}") and not set("#$%^~&") & set(plain.replace(" & ", ""))
    for kind in ("table", "tabular", "figure"):
        assert body.count(rf"\begin{{{kind}}}") == body.count(rf"\end{{{kind}}}") > 0
    assert all(f"\\{rule}" in body for rule in ("toprule", "midrule", "bottomrule"))
    for tabular in re.findall(r"\\toprule\n(.*?)\\bottomrule", body, re.DOTALL):
        lines = [line for line in tabular.splitlines() if line.endswith(r"\\")]
        assert len({line.replace(r"\&", "").count("&") for line in lines}) == 1
    if shutil.which("pdflatex"):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
        assert subprocess.run(command, cwd=reported, capture_output=True).returncode == 0


def test_what_latex_reads_as_its_own_is_escaped() -> None:
    assert escaped(r"a\b_{x} 5% & #1 $") == r"a\textbackslash{}b\_\allowbreak{}\{x\} 5\% \& \#1 \$"


def test_faces_are_asked_for_and_marked(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "search"
    for seed in (1, 2):
        finished.put_run(root, Member(f"finals/0003-seed{seed}", seed=seed, value=4.0), 3.0)
    assert report(Namespace(study=str(root), format="html", faces=True, out=None)) == 0
    assert "do not publish" in capsys.readouterr().out
    assert [path.name for path in (root / "report").glob("*.*")] == ["report-do-not-publish.html"]
    text = (root / "report" / "report-do-not-publish.html").read_text()
    assert text.count("data:image/png;base64,") == 12 and "Do not publish." in text


def test_mistakes_are_one_message(command: Command, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "utkface" / "trials" / "0000").mkdir(parents=True)
    missing = command("report", str(tmp_path / "utkfaces"))
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1
    assert "no such folder" in missing.stderr and "Did you mean 'utkface'?" in missing.stderr
    with pytest.raises(UserError, match=r"has finished \(runs begun: 1\)"):
        report_study.read(str(tmp_path / "utkface"))
    with pytest.raises(UserError, match="holds no study"):
        report_study.read(str(tmp_path / "utkface" / "trials" / "0000"))
    for format_, said in (("htm", "Did you mean 'html'?"), ("md", "add html"), (",", "give one or more")):
        with pytest.raises(UserError, match=re.escape(said)):
            report(Namespace(study=str(tmp_path), format=format_, faces=True, out=None))
