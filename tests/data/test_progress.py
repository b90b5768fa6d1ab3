"""A log gets few lines, the last one with the final count."""

import pytest

from data.progress import Progress, Silent


def test_a_log_gets_one_line_for_quick_work(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1000, "decode", "images")
    for _ in range(1000):
        progress.advance()
    progress.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("decode: 1,000/1,000 images, ")


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silent(10, "decode", "images")
    progress.advance(10)
    progress.close()
    assert capsys.readouterr().err == ""
