"""The CSV file to the letter, and the published table."""

from pathlib import Path

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score
from napari_shaspec.evaluation.tables import markdown_table, read_scores, write_scores
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.regions import Region

FLAIR, T1, T1C, T2 = Modality


def scores_of(case: str, *modalities: Modality, dice: float = 0.5) -> list[Score]:
    """The same Dice everywhere; HD95 is 1 mm for ET, 2 for TC, 3 for WT."""
    return [
        Score(case, available, region, dice, float(number))
        for available in nonempty_subsets(modalities)
        for number, region in enumerate(Region, 1)
    ]


def test_csv_to_the_letter(tmp_path: Path) -> None:
    scores = [
        Score("a, b", frozenset({T2, FLAIR, T1C}), Region.ET, 2 / 3, 373.13),
        Score("Ünal", frozenset({T1}), Region.WT, 1.0, 0.0),
    ]
    write_scores(scores, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes().decode() == (
        'case,available,region,dice,hd95_mm\n"a, b",flair+t1c+t2,ET,0.666667,373.130\nÜnal,t1,WT,1.000000,0.000\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_csv_round_trip(tmp_path: Path) -> None:
    scores = scores_of("one", *Modality) + scores_of("two", T1, T2, dice=0.25)
    write_scores(scores, tmp_path / "t.csv")
    assert read_scores(tmp_path / "t.csv") == scores


def test_names_that_are_no_text(tmp_path: Path) -> None:
    scores = [Score("M\udcfcller", frozenset({Modality.T1}), Region.ET, 0.5, 1.0)]
    write_scores(scores, tmp_path / "a.csv")
    assert read_scores(tmp_path / "a.csv") == scores


def test_csv_replaces_an_older_one(tmp_path: Path) -> None:
    write_scores(scores_of("old", T1), tmp_path / "t.csv")
    write_scores(scores_of("new", T1), tmp_path / "t.csv")
    assert {score.case for score in read_scores(tmp_path / "t.csv")} == {"new"}


def test_csv_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match="to write"):
        write_scores(scores_of("one", T1), tmp_path / "missing" / "t.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the columns case,available,region,dice,hd95_mm"),
        ("case,subset,region,dice,hd95_mm\n", "found case,subset"),
        ("case,available,region,dice,hd95_mm\na,flair,XX,1,0\n", "line 2 of t.csv"),
        ("case,available,region,dice,hd95_mm\na,flair,ET,1,0\na,flair,ET,much,0\n", "line 3 of t.csv"),
        ("case,available,region,dice,hd95_mm\na,flair\n", "line 2 of t.csv"),
        ("case,available,region,dice,hd95_mm\na,pet,ET,1,0\n", "modality names"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ShaSpecError, match=message):
        read_scores(tmp_path / "t.csv")


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match="nothing at"):
        read_scores(tmp_path / "t.csv")


def test_markdown_has_15_rows_in_published_order_and_their_mean() -> None:
    lines = markdown_table(scores_of("one", *Modality, dice=0.4) + scores_of("two", *Modality, dice=0.6)).splitlines()
    assert (
        lines[0] == "| available | cases | ET Dice % | TC Dice % | WT Dice % | ET HD95 mm | TC HD95 mm | WT HD95 mm |"
    )
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "FLAIR", "T1", "T1c", "T2",
        "FLAIR+T1", "FLAIR+T1c", "FLAIR+T2", "T1+T1c", "T1+T2", "T1c+T2",
        "FLAIR+T1+T1c", "FLAIR+T1+T2", "FLAIR+T1c+T2", "T1+T1c+T2", "FLAIR+T1+T1c+T2",
        "average",
    ]  # fmt: skip
    for line in lines[2:]:
        assert line.endswith("| 2 | 50.00 | 50.00 | 50.00 | 1.00 | 2.00 | 3.00 |")


def test_average_is_the_mean_of_rows_not_of_scores() -> None:
    scores = [
        Score("one", frozenset({FLAIR}), Region.WT, 0.9, 2.0),
        Score("two", frozenset({FLAIR}), Region.WT, 0.7, 4.0),
        Score("two", frozenset({T2}), Region.WT, 0.4, 9.0),
    ]
    assert markdown_table(scores).splitlines()[2:] == [
        "| FLAIR | 2 | nan | nan | 80.00 | nan | nan | 3.00 |",
        "| T2 | 1 | nan | nan | 40.00 | nan | nan | 9.00 |",
        "| average of 2 rows | 2 | nan | nan | 60.00 | nan | nan | 6.00 |",
    ]


def test_cases_that_miss_modalities_count_where_they_can() -> None:
    lines = markdown_table(scores_of("full", *Modality, dice=1.0) + scores_of("two", T1, T2, dice=0.0)).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:3] for line in lines[2:]}
    assert rows["T1"] == rows["T2"] == rows["T1+T2"] == ["2", "50.00"]
    assert rows["FLAIR"] == rows["FLAIR+T1+T1c+T2"] == ["1", "100.00"]
    assert rows["average"] == ["2", "90.00"]


def test_markdown_of_nothing_is_refused() -> None:
    with pytest.raises(ShaSpecError, match="at least one evaluated case"):
        markdown_table([])
