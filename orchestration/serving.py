"""A registered model that serves: pictures in, the table of estimates out, as MLflow's python_function.

    mlflow models serve -m models:/utkface/1 --env-manager local --port 5001
    curl 127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"dataframe_split":
        {"columns": ["image"], "data": [["'$(base64 -w0 photo.jpg)'"]]}}'

A version keeps a whole checkpoint of tensors and text, read with weights_only: nothing is unpickled. Who
loads it has this project installed. No picture is stored or logged.
"""

from __future__ import annotations

import os
import tempfile
import threading
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data.crops import Cutter, Picture
from data.readers import synthetic
from orchestration import intervals, registry
from orchestration.errors import UserError
from orchestration.estimates import see
from orchestration.estimator import Estimator, load
from orchestration.find_model import SERVED
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.shown import FIELDS, rows
from orchestration.spread import spread

if TYPE_CHECKING:
    import pandas as pd

IMAGE = "image"  # the column of pictures
PACKAGES = ("torch", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "PyYAML")
NUMBERS = ("picture", "face", "faces")
WORDS = ("gender", "problem")
EXAMPLE_SIZE = 112  # pixels a side of the drawn face that is the input example


class Pictures:
    """What MLflow calls: one model, its intervals, and how its training faces were cut."""

    def __init__(self, estimator: Estimator) -> None:
        """Raises DataError where the training faces were found by a detector that is not installed here."""
        trained = estimator.preparation
        aligned = trained is not None and trained.align is not None
        reader = str(estimator.members[0].origin.get("reader"))
        self._estimator = estimator
        self._spread = spread(estimator.folders, estimator.columns, estimator.flip)
        self._cutter = Cutter.like(estimator.size, trained, reader, aligned)
        self._one_at_a_time = threading.Lock()  # a detector keeps what it is at; a server has many threads

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """A row of `shown.FIELDS` for every face of every picture, or one that says why there is none.

        `picture` is the row of `model_input`, whose column `image` holds bytes of a picture's file, paths
        (pathlib.Path) or arrays [h, w, 3] uint8 RGB. Raises UserError for anything else: a text may come
        from a request, which is not to name files of this machine.
        """
        import pandas as pd

        pictures = [_picture(i, value) for i, value in enumerate(model_input[IMAGE])]
        with self._one_at_a_time:
            seen = list(see(self._estimator, self._spread, self._cutter, pictures))
        found = [{**row, "picture": i} for i, one in enumerate(seen) for row in rows(one)]
        # Objects: None is null in a server's JSON, where NaN would be no JSON at all.
        return pd.DataFrame(found, columns=list(FIELDS), dtype=object).replace({np.nan: None})


def _picture(row: int, value: Any) -> Picture:
    if isinstance(value, bytes):
        return Picture(str(row), value)
    if isinstance(value, os.PathLike):
        return Picture(os.fspath(value), Path(value))
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,):
        return Picture(str(row), _encoded(value, "BMP"))
    got = f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise UserError(
        f"{IMAGE}, row {row}: bytes of a picture's file, a pathlib.Path or an array [h, w, 3] uint8 is"
        f" wanted. Received: {got}"
    )


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _load_pyfunc(path: str) -> Pictures:
    """The model of a version's data folder; the name is MLflow's."""
    return Pictures(load(path, device="cpu"))


def serving(folder: StudyFolder, member: Member, into: Path) -> None:
    """Builder of a version that serves. A checkpoint that does not stand alone is registered as it is, and
    `not_served.txt` says why."""
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch) / Path(SERVED).name
        kept.mkdir()
        registry.files(folder, member, kept)
        found = folder.storage.get(f"{member.name}/{intervals.FILE}")
        if found is not None:
            (kept / intervals.FILE).write_bytes(found)
        try:
            _stand_alone(kept / "best.pt")
        except UserError as error:
            registry.files(folder, member, into)
            (into / "not_served.txt").write_text(f"{error}\n")
            return
        _save(kept, into)


def _stand_alone(path: Path) -> None:
    """Put a frozen run's backbone into its checkpoint. Raises UserError where that is gone."""
    import torch

    from orchestration.whole import whole

    (trained,) = load(str(path), device="cpu").members
    torch.save(whole(trained, position=True), path)


def _save(kept: Path, into: Path) -> None:
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    types = dict.fromkeys(NUMBERS, DataType.long) | dict.fromkeys(WORDS, DataType.string)
    answer = [ColSpec(types.get(name, DataType.double), name, required=name == "picture") for name in FIELDS]
    drawn = next(synthetic.faces(1, EXAMPLE_SIZE)).pixels
    assert drawn is not None
    pyfunc.save_model(
        into,
        loader_module=__name__,
        data_path=str(kept),
        signature=ModelSignature(Schema([ColSpec(DataType.binary, IMAGE)]), Schema(answer)),
        input_example=pd.DataFrame({IMAGE: [_encoded(drawn, "PNG")]}),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES],
    )
