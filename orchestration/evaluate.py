"""Trained models on faces they have not seen: python -m orchestration.evaluate RUN --data faces/fgnet"""

from __future__ import annotations

import argparse
import shlex

from orchestration import cli

FORMATS = ("md", "html", "json")


def main() -> int:
    """Evaluate models on one or several data sets, after a look at what they share with the training data."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.evaluate",
        description="Accuracy, groups, checks of age, intervals and leaks of trained models on any data set.",
        epilog="Of the data set that a model was trained on its test part is scored, of another all faces."
        " Every evaluation is entered in the study's test ledger.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a run's folder, a checkpoint file, or a name in MLflow's registry",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FOLDER",
        help="made by data.prepare; may be given again (default: what the models were trained on)",
    )
    parser.add_argument("--part", choices=("test", "all"), help="of data sets that no model was trained on")
    parser.add_argument(
        "--legal", type=float, default=18, metavar="AGE", help="legal age of the check of age (18)"
    )
    parser.add_argument(
        "--challenge", default="18,21,25,30", metavar="AGES", help="challenge ages (18,21,25,30)"
    )
    parser.add_argument("--flip", action="store_true", help="average over each face and its mirror image")
    parser.add_argument("--ensemble", action="store_true", help="measure the mean of all models too")
    parser.add_argument("--names", action="store_true", help="file names, which may name people, of mistakes")
    parser.add_argument(
        "--format", default="md,html,json", metavar="LIST", help="of md, html, json; default all"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="default: evaluation/ in the model's or study's folder"
    )
    return evaluate(parser.parse_args())


def evaluate(arguments: argparse.Namespace) -> int:
    """Audit, predict, measure, and write what the arguments ask for."""
    wanted = cli.formats(arguments.format, FORMATS)
    challenges = _ages(arguments.challenge)
    from orchestration import evaluation_mlflow, evaluation_plan, evaluation_run  # these import torch
    from orchestration.evaluation import Asked
    from orchestration.storage import Storage

    asked = Asked(arguments.legal, challenges)
    plan = evaluation_plan.plan(
        arguments.models, arguments.data, arguments.part, arguments.flip, arguments.ensemble
    )
    for line in plan.audit():
        print(line)
    found = evaluation_run.run(plan, asked)
    out = Storage(arguments.out) if arguments.out else plan.default_folder()
    pages = evaluation_run.write(plan, found, wanted, out, arguments.names)
    print("\n".join(evaluation_run.summary(found)))
    with out.on_disk(*pages) as files:
        for model in plan.models:
            mine = [one for one in found if one.model == model.name]
            print(evaluation_mlflow.send(model, mine, files, plan.flip))
    for name in pages:
        print(f"results: {out.address(name)}")
    print(f"next: python -m orchestration.predict {shlex.quote(plan.models[0].folder.root)} IMAGE")
    return cli.DONE


def _ages(given: str) -> tuple[float, ...]:
    from orchestration.errors import UserError

    try:
        found = tuple(float(age) for age in given.split(","))
    except ValueError:
        raise UserError(f"--challenge: ages such as 18,25 are wanted. Received: {given!r}") from None
    return found


if __name__ == "__main__":
    cli.run(main)
