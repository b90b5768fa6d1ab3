"""Regular two-level fractions 2^(k−p): generators, resolution and aliases. Pure.

A word is a product of factors, as bits: factor i is bit i. What a fraction cannot tell apart differs by a
word of its defining subgroup, which is aliased with the mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce

from orchestration.designs import Design, Effect, Levels, contrast, name_of

MOST_COMPONENTS = 10  # more would be searched for minutes


def fractional(levels: Levels, halvings: int) -> Design:
    """The regular fraction 2^(k−p) of two-level components with the fewest short words (minimum aberration).

    The base has every component off; signs are chosen such that it is in the fraction. Raises ValueError for
    components of more levels, and a p that leaves too few products for its generators.
    """
    names = list(levels)
    k = len(names)
    several = [name for name in names if len(levels[name]) != 2]
    if several:
        raise ValueError(
            f"a fraction needs components of two levels; {several[0]} has {len(levels[several[0]])}"
        )
    if k > MOST_COMPONENTS:
        raise ValueError(f"a fraction takes at most {MOST_COMPONENTS} components; received {k}")
    most = max((p for p in range(1, k) if p <= 2 ** (k - p) - 1 - (k - p)), default=0)
    if not 1 <= halvings <= most:
        allowed = f"1 to {most}" if most else "none"
        raise ValueError(f"{k} components can be halved {allowed} times; received {halvings}")
    generators = minimum_aberration(k, halvings)
    words = _subgroup(generators)
    rows = [row for row in itertools.product((-1, 1), repeat=k) if _inside(row, generators)]
    variants = {}
    for row in rows:
        choice = {name: levels[name][(x + 1) // 2] for name, x in zip(names, row, strict=True)}
        variants[name_of(choice, levels)] = choice
    letters = {1 << i: name for i, name in enumerate(names)}
    return Design(
        variants,
        name_of({name: levels[name][0] for name in names}, levels),
        tuple(_aliased(names, rows, list(variants), words)),
        min(word.bit_count() for word in words),
        tuple(_equation(word, letters) for word in generators),
    )


def _inside(row: Sequence[int], generators: Sequence[int]) -> bool:
    """Whether the run is in the fraction that holds the run with everything off.

    There every factor of a word is −1, so its product is +1 for an even number of factors, −1 for an odd.
    """
    return all(_product(row, word) == (-1) ** word.bit_count() for word in generators)


def _product(row: Sequence[int], word: int) -> int:
    return reduce(lambda sign, i: sign * row[i], _bits(word), 1)


def _bits(word: int) -> list[int]:
    return [i for i in range(word.bit_length()) if word >> i & 1]


def _subgroup(generators: Sequence[int]) -> list[int]:
    """All products of the generators' words but the empty one: what is aliased with the mean."""
    words = []
    for size in range(1, len(generators) + 1):
        for chosen in itertools.combinations(generators, size):
            words.append(reduce(int.__xor__, chosen))
    return words


def minimum_aberration(k: int, p: int) -> tuple[int, ...]:
    """Words (bit i: factor i) of the p generators whose defining words are longest, the shortest first.

    The last p factors are products of some of the first k − p (Fries & Hunter, 1980).
    """
    basic = k - p
    products = [word for word in range(1, 1 << basic) if word.bit_count() >= 2]
    best: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    for chosen in itertools.combinations(products, p):
        generators = tuple(word | 1 << (basic + i) for i, word in enumerate(chosen))
        lengths = [word.bit_count() for word in _subgroup(generators)]
        pattern = tuple(lengths.count(length) for length in range(1, k + 1))
        if best is None or pattern < best[0]:
            best = pattern, generators
    assert best is not None, "there are at least p products"
    return best[1]


def _equation(word: int, letters: Mapping[int, str]) -> str:
    """`d = a × b`: the last factor of a generator by the others, with the sign it has in the fraction."""
    *basic, last = [letters[1 << i] for i in _bits(word)]
    sign = "−" if word.bit_count() % 2 else ""
    return f"{last} = {sign}{' × '.join(basic)}"


def _aliased(
    names: Sequence[str], rows: Sequence[Sequence[int]], variants: Sequence[str], words: Sequence[int]
) -> list[Effect]:
    """One effect for every main effect and two-way interaction that is not an alias of an earlier one."""
    wanted = [1 << i for i in range(len(names))]
    wanted += [a | b for a, b in itertools.combinations(wanted, 2)]
    known = set(wanted)
    seen: set[int] = set()
    found = []
    for term in wanted:
        if term in seen:
            continue
        alike = sorted((term ^ word for word in words), key=lambda w: (w.bit_count(), w))
        seen |= {term, *alike}
        weights = {v: float(_product(row, term)) for v, row in zip(variants, rows, strict=True)}
        told = tuple(_words(names, rows[0], term, word) for word in alike if word in known)
        found.append(Effect(_words(names, rows[0], term, term), contrast(weights), told))
    return found


def _words(names: Sequence[str], row: Sequence[int], term: int, alias: int) -> str:
    """An alias as a product of components, with a minus where its column is the term's with other signs."""
    sign = "" if _product(row, term) == _product(row, alias) else "−"
    return sign + " × ".join(names[i] for i in _bits(alias))
