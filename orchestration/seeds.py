"""Seeds by purpose: no random state is ever saved, every draw can be made again."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, purpose: str, *parts: int) -> int:
    """A 63-bit seed, a pure function of the run's seed, the purpose and numbers such as the epoch."""
    text = f"{seed}/{purpose}/" + "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
