"""Every protocol: what it promises of its parts, on made-up labels and on AgeDB's real ones."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import Samples, agedb

from data import near
from data.errors import DataError
from data.protocols import BENCHMARK, FOLDS, Spec
from data.splits import Split, make

COUNT = 120
PARTS = ("train", "val", "test", "calibration")
SPECS = [
    {"protocol": "image_random"},
    {"protocol": "image_random", "near_duplicates": "ignore"},
    {"protocol": "subject_exclusive"},
    {"protocol": "folds", "fold": 3},
    {"protocol": "folds", "folds": "benchmark", "fold": 1},
    {"protocol": "leave_one_identity_out", "fold": 7},
    {"protocol": "listed"},
    {"protocol": "official"},
    {"protocol": "official", "train_on": "val"},
]
PEOPLE_APART = ("subject_exclusive", "folds", "leave_one_identity_out", "official")


def _samples(seed: int) -> Samples:
    """Ages 1 to 9 and four faces each of thirty people, at random; the official parts go by person."""
    draw = np.random.default_rng(seed)
    person = draw.permutation(np.arange(COUNT) % 30)
    official = [("train", "val", "test")[p % 3] for p in person]
    near_groups = draw.integers(0, COUNT - 20, COUNT).tolist()
    ages = draw.integers(1, 10, COUNT).astype(np.float32)
    return Samples(ages, [f"p{p:02d}" for p in person], official, groups=near_groups)


samples = st.builds(_samples, st.integers(0, 9999))
specs = st.builds(
    lambda chosen, **others: {**chosen, **others},
    st.sampled_from(SPECS),
    seed=st.integers(0, 5),
    calibration=st.booleans(),
    ages=st.sampled_from([None, (2, 8)]),
)


def _write(path: Path, header: str, rows: dict[str, object]) -> str:
    path.write_text("\n".join([header, *(f"{name},{value}" for name, value in rows.items())]) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A published split and published folders for the names of `samples`."""
    folder = tmp_path_factory.mktemp("listings")
    names = [f"{i:04d}.jpg" for i in range(COUNT)]
    split = {name: ("train", "val", "train", "test")[i % 4] for i, name in enumerate(names)}
    folders = {name: i % 10 for i, name in enumerate(names)}
    return {
        "listed": _write(folder / "split.csv", "path,split", split),
        "folds": _write(folder / "folders.csv", "file,folder", folders),
    }


def _spec(settings: dict[str, object], listing: dict[str, str]) -> Spec:
    published = settings["protocol"] == "listed" or settings.get("folds") == "benchmark"
    return Spec(**settings, listing=listing[str(settings["protocol"])] if published else None)  # type: ignore[arg-type]


def _parts(split: Split, data: Samples) -> dict[str, list[str]]:
    return {name: [data.sources[row] for row in getattr(split, name)] for name in PARTS}


def _people(split: Split, data: Samples) -> list[set[str | None]]:
    return [{data.identities[row] for row in getattr(split, name)} for name in PARTS]


def _apart(groups: list[set[str | None]]) -> bool:
    return sum(map(len, groups)) == len(set().union(*groups))


@given(data=samples, settings=specs)
def test_no_face_is_in_two_parts_and_only_faces_of_the_ages_are_in_any(
    data: Samples, settings: dict[str, object], listing: dict[str, str]
) -> None:
    split = make(data, _spec(settings, listing))
    rows = np.concatenate([getattr(split, name) for name in PARTS])
    assert len(set(rows.tolist())) == len(rows)
    low, high = settings["ages"] or (0, 99)  # type: ignore[misc]
    inside = set(np.flatnonzero((low <= data.ages) & (data.ages <= high)).tolist())
    left_out = settings.get("train_on") == "val" or settings.get("folds") == "benchmark"
    assert set(rows.tolist()) <= inside if left_out else set(rows.tolist()) == inside
    assert all((np.diff(getattr(split, name)) > 0).all() for name in PARTS)
    assert (len(split.calibration) > 0) is settings["calibration"]


@given(data=samples, settings=specs, random=st.randoms(use_true_random=False))
def test_row_order_changes_no_split(
    data: Samples, settings: dict[str, object], random: object, listing: dict[str, str]
) -> None:
    order = random.sample(range(COUNT), COUNT)  # type: ignore[attr-defined]
    spec, other = _spec(settings, listing), data.reordered(order)
    split, moved = make(data, spec), make(other, spec)
    assert split.hash == moved.hash
    ours, theirs = _parts(split, data), _parts(moved, other)
    assert {k: sorted(v) for k, v in ours.items()} == {k: sorted(v) for k, v in theirs.items()}


@given(data=samples, settings=specs)
def test_nobody_is_in_two_parts_where_people_are_apart(
    data: Samples, settings: dict[str, object], listing: dict[str, str]
) -> None:
    """The calibration's people included; the benchmark's folders here go by image, so they are not."""
    if settings["protocol"] in PEOPLE_APART and settings.get("folds") != "benchmark":
        assert _apart(_people(make(data, _spec(settings, listing)), data))


@given(data=samples, seed=st.integers(0, 5), calibration=st.booleans())
def test_near_duplicates_stay_on_one_side(data: Samples, seed: int, calibration: bool) -> None:
    split = make(data, Spec("image_random", seed, calibration=calibration))
    assert _apart([{str(data.groups[row]) for row in getattr(split, name)} for name in PARTS])


def test_near_duplicates_are_spread_like_others_where_they_are_ignored() -> None:
    data = Samples(np.full(100, 30, np.float32), [None] * 100, groups=[i // 2 for i in range(100)])
    split = make(data, Spec("image_random", near_duplicates="ignore"))
    assert not _apart([{str(data.groups[row]) for row in getattr(split, name)} for name in PARTS])
    assert [len(getattr(split, name)) for name in PARTS[:3]] == [60, 20, 20]


@given(samples, st.integers(0, 5))
def test_the_tests_of_balanced_folds_are_a_partition(data: Samples, seed: int) -> None:
    folds = [make(data, Spec("folds", seed, fold=fold)) for fold in range(FOLDS)]
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested.tolist()) == list(range(COUNT))
    for before, after in zip(folds, folds[1:] + folds[:1], strict=True):
        np.testing.assert_array_equal(before.val, after.test)


def test_the_benchmarks_folders_are_the_published_ones() -> None:
    """Tests {8,9}, {0,1}, {2,3}, {3,4}, {4,5}; six, two and two folders, each once."""
    assert [set(test) for _, _, test in BENCHMARK] == [{8, 9}, {0, 1}, {2, 3}, {3, 4}, {4, 5}]
    for parts in BENCHMARK:
        assert [len(part) for part in parts] == [6, 2, 2]
        assert {folder for part in parts for folder in part} == set(range(10))


def test_one_person_after_the_other_is_left_out() -> None:
    data = _samples(0)
    left = [
        {data.identities[row] for row in make(data, Spec("leave_one_identity_out", fold=fold)).test}
        for fold in range(30)
    ]
    assert left == [{f"p{i:02d}"} for i in range(30)]
    with pytest.raises(DataError, match=r"fold must be 0 to 29, a person each. Received: 30"):
        make(data, Spec("leave_one_identity_out", fold=30))


def test_half_of_the_validation_part_calibrates() -> None:
    data = _samples(0)
    for protocol in ("image_random", "subject_exclusive"):
        whole, halves = (make(data, Spec(protocol, calibration=c)) for c in (False, True))
        np.testing.assert_array_equal(np.union1d(halves.val, halves.calibration), whole.val)
        np.testing.assert_array_equal(halves.train, whole.train)
        np.testing.assert_array_equal(halves.test, whole.test)
        assert abs(len(halves.calibration) - len(halves.val)) <= 4  # one person's faces


def test_official_train_on_val_leaves_the_noisy_people_out() -> None:
    data = _samples(0)
    on_train, on_val = (make(data, Spec("official", train_on=t)) for t in ("train", "val"))
    np.testing.assert_array_equal(on_train.test, on_val.test)
    np.testing.assert_array_equal(np.union1d(on_val.train, on_val.val), on_train.val)
    assert len(on_val.train) > len(on_val.val) > 0


def test_settings_that_decide_nothing_leave_the_name_of_a_split_as_it_is(listing: dict[str, str]) -> None:
    assert Spec("image_random", fold=3, folds="benchmark").used() == Spec("image_random").used()
    assert Spec("subject_exclusive", near_duplicates="ignore").used() == Spec("subject_exclusive").used()
    assert Spec("official", 1).used() == Spec("official", 2).used()
    listed = Spec("listed", listing=listing["listed"])
    assert listed.used() == Spec("listed", 5, listing=listing["listed"]).used()


@pytest.mark.parametrize("settings", [{"train_on": "val"}, {"calibration": True}])
def test_a_seed_that_decides_something_is_in_the_name_of_a_split(settings: dict[str, object]) -> None:
    first, second = (Spec("official", seed, **settings) for seed in (0, 1))  # type: ignore[arg-type]
    assert first.used() != second.used()


def test_the_name_of_a_split_states_what_counts_as_near() -> None:
    assert Spec("image_random").used()["near_duplicates"] == {"bits": near.BITS, "likeness": near.LIKENESS}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec("listed"), "give data.listing=FILE.csv"),
        (Spec("image_random", listing="a.csv"), "read by the protocols listed and folds"),
        (Spec("image_random", train_on="val"), "belongs to the protocol official"),
        (Spec("folds", fold=5), "fold must be 0 to 4"),
        (Spec("official"), r"official needs the data set's own split of every image; 60 of 60"),
        (Spec("image_random", ages=(70, 80)), "no face is 70 to 80 years old"),
    ],
)
def test_settings_that_cannot_be_are_refused(spec: Spec, words: str) -> None:
    data = Samples(np.full(60, 30, np.float32), [f"p{i}" for i in range(60)])
    with pytest.raises(DataError, match=words):
        make(data, spec)


def _small() -> Samples:
    names = ["a/x.jpg", "b/y.jpg", "b/Zoë.jpg", "b/w.jpg"]
    return Samples(np.array([20, 30, 40, 50], np.float32), [None] * 4, sources=names)


def test_a_listing_is_matched_by_name_whatever_its_folders_and_accents(tmp_path: Path) -> None:
    rows = {"x.jpg": "train", "images/y.jpg": "VAL", "Zoe\u0308.jpg": "test", "w.jpg": "trn"}
    path = _write(tmp_path / "l.csv", "path,split", rows)
    split = make(_small(), Spec("listed", listing=path))
    assert [split.train.tolist(), split.val.tolist(), split.test.tolist()] == [[0, 3], [1], [2]]


def test_names_that_are_not_unique_are_matched_by_their_whole_paths(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "c/x.jpg"]
    data = Samples(np.array([20, 30, 40], np.float32), [None] * 3, sources=names)
    rows = dict(zip(reversed(names), ("train", "val", "test"), strict=True))
    split = make(data, Spec("listed", listing=_write(tmp_path / "l.csv", "path,split", rows)))
    assert [split.train.tolist(), split.val.tolist(), split.test.tolist()] == [[2], [1], [0]]


def test_a_listing_of_the_ages_that_take_part_is_enough(tmp_path: Path) -> None:
    part = {"x.jpg": "train", "y.jpg": "val", "Zoë.jpg": "test"}
    whole = {**part, "w.jpg": "test"}
    splits = [
        make(_small(), Spec("listed", ages=(20, 40), listing=_write(tmp_path / name, "path,split", rows)))
        for name, rows in (("part.csv", part), ("whole.csv", whole))
    ]
    assert [split.test.tolist() for split in splits] == [[2], [2]]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            "x.jpg,train\ny.jpg,val\nZoë.jpg,test\n",
            r"1 of 4 images are not listed \(first: b/w.jpg\), 0 of 3",
        ),
        ("x.jpg,train\ny.jpg,val\nZoë.jpg,test\nw.jpg,test\nv.jpg,test\n", r"1 of 5 listed are not .*v.jpg"),
        ("x.jpg,train\nx.jpg,val\n", "row 3: 'x.jpg' is listed twice"),
        ("x.jpg,train\ny.jpg,dev\nZoë.jpg,test\nw.jpg,test\n", "must be train, val or test. Received: 'dev'"),
        ("x.jpg\ny.jpg,val\nZoë.jpg,test\nw.jpg,test\n", "must be train, val or test. Received: ''"),
    ],
)
def test_every_row_of_a_listing_is_checked(tmp_path: Path, rows: str, words: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(f"path,split\n{rows}")
    with pytest.raises(DataError, match=words):
        make(_small(), Spec("listed", listing=str(path)))


def test_a_listing_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file,split\nx.jpg,train\n")
    with pytest.raises(DataError, match="no column 'path'; found file, split"):
        make(_small(), Spec("listed", listing=str(tmp_path / "l.csv")))
    with pytest.raises(DataError, match=r"gone.csv: No such file or directory: expected a CSV"):
        make(_small(), Spec("listed", listing=str(tmp_path / "gone.csv")))


@pytest.fixture(scope="module")
def agedb_listing(real_faces: Path) -> Path:
    path = real_faces / "listings" / "agedb.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def test_agedbs_published_folders_give_the_published_parts(agedb_listing: Path) -> None:
    """Split 0 has 9,925 / 3,230 / 3,333 images, nobody in two parts, and every age in train."""
    data = agedb(agedb_listing)
    assert (len(data.ages), len(set(data.identities))) == (16_488, 567)
    for fold in range(5):
        split = make(data, Spec("folds", folds="benchmark", fold=fold, listing=str(agedb_listing)))
        assert _apart(_people(split, data))
        if fold == 0:
            assert [len(split.train), len(split.val), len(split.test)] == [9_925, 3_230, 3_333]
            assert set(data.ages[split.train]) == set(data.ages)


def test_agedbs_folders_are_found_whatever_an_unzip_program_made_of_the_names(agedb_listing: Path) -> None:
    data = agedb(agedb_listing)
    mangled = Samples(
        data.ages, data.identities, sources=[name.replace("a", "\u00e1").upper() for name in data.sources]
    )
    spec = Spec("folds", folds="benchmark", listing=str(agedb_listing))
    np.testing.assert_array_equal(make(mangled, spec).test, make(data, spec).test)


def test_people_of_agedb_are_spread_so_that_every_age_has_its_share(agedb_listing: Path) -> None:
    """Each part has its share of the images to 1 %, and of each decade with 100 images or more to 10 %."""
    data = agedb(agedb_listing)
    split = make(data, Spec("subject_exclusive"))
    assert _apart(_people(split, data))
    decades = Counter((data.ages // 10).tolist())
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        rows = getattr(split, name)
        assert len(rows) == pytest.approx(share * len(data.ages), rel=0.01)
        for decade, count in Counter((data.ages[rows] // 10).tolist()).items():
            if decades[decade] >= 100:
                assert count == pytest.approx(share * decades[decade], rel=0.1)


def test_fgnet_is_82_runs_that_test_everyone_once(real_faces: Path) -> None:
    with (real_faces / "fgnet" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ages = np.array([float(row["file"][4:6]) for row in rows], np.float32)
    data = Samples(ages, [row["file"][:3] for row in rows], sources=[row["file"] for row in rows])
    tests = [make(data, Spec("leave_one_identity_out", fold=fold)).test for fold in range(82)]
    assert sorted(np.concatenate(tests).tolist()) == list(range(1002))
    with pytest.raises(DataError, match="0 to 81"):
        make(data, Spec("leave_one_identity_out", fold=82))
