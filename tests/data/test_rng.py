"""Random numbers are pure functions of their key, and look random."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.rng import NoiseTable, hashes, uniforms

WORD = (1 << 64) - 1


def _splitmix(x: int) -> int:
    """The finaliser of Steele, Lea and Flood's SplitMix64, in Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


@given(st.integers(0, WORD), st.integers(0, 10**6), st.integers(0, 2**62), st.integers(0, 9))
def test_hashes_agree_with_integers_of_any_size(seed: int, epoch: int, sample: int, stream: int) -> None:
    golden = 0x9E3779B97F4A7C15
    key = 0
    for part in (seed, stream, epoch):
        key = _splitmix(((key ^ part) + golden) & WORD)
    expected = _splitmix((_splitmix(key ^ sample) + golden) & WORD)
    assert int(hashes(seed, epoch, np.array([sample]), stream)[0]) == expected


def test_uniforms_are_uniform() -> None:
    u = uniforms(0, 0, np.arange(50_000), 4)
    assert u.dtype == np.float32
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert 50 < chi2 < 160  # 99 degrees of freedom, over four standard deviations each side


def test_columns_samples_epochs_seeds_and_streams_are_unrelated() -> None:
    ids = np.arange(20_000)
    u = uniforms(0, 0, ids, 2)[:, 0]
    others = [
        uniforms(0, 0, ids, 2)[:, 1],
        uniforms(0, 0, ids + 1, 1)[:, 0],
        uniforms(0, 1, ids, 1)[:, 0],
        uniforms(1, 0, ids, 1)[:, 0],
        uniforms(0, 0, ids, 1, stream=1)[:, 0],
    ]
    for other in others:
        assert abs(np.corrcoef(u, other)[0, 1]) < 5 / np.sqrt(len(ids))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(1, 6))
def test_a_sample_draws_the_same_in_any_batch(ids: list[int], count: int) -> None:
    batch = uniforms(3, 5, np.array(ids), count)
    for sample, row in zip(ids, batch, strict=True):
        np.testing.assert_array_equal(uniforms(3, 5, np.array([sample]), count)[0], row)


def _noise(seed: int = 0, epoch: int = 0, channels: int = 64) -> NoiseTable:
    return NoiseTable(seed, epoch, channels, torch.float32, "cpu")


def test_noise_is_standard_normal() -> None:
    noise = _noise().rows(np.arange(20_000))
    assert noise.shape == (20_000, 64)
    assert abs(noise.mean().item()) < 0.005
    assert abs(noise.std().item() - 1) < 0.005
    assert abs((noise**4).mean().item() - 3) < 0.05
    assert abs((noise.abs() < 1).double().mean().item() - 0.6827) < 0.005


def test_noise_of_a_sample_is_the_same_in_any_batch_and_another_in_another_epoch() -> None:
    table = _noise()
    batch = table.rows(np.array([7, 1, 9]))
    assert torch.equal(table.rows(np.array([9])), batch[2:])
    assert torch.equal(_noise().rows(np.array([9])), batch[2:])
    for other in (_noise(epoch=1), _noise(seed=1)):
        assert (
            torch.corrcoef(
                torch.stack([other.rows(np.arange(500)).flatten(), table.rows(np.arange(500)).flatten()])
            )[0, 1].abs()
            < 0.03
        )


def test_noise_has_the_type_asked_for() -> None:
    half = NoiseTable(0, 0, 8, torch.float16, "cpu").rows(np.arange(3))
    assert half.dtype == torch.float16
    assert torch.equal(half, _noise(channels=8).rows(np.arange(3)).half())


def test_noise_of_no_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        _noise(channels=0)
