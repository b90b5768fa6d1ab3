"""What is wrong with a data set, and what its splits leak.

    python -m data.audit faces/utkface [--against faces/fgnet] [--strict]

Writes audit.json, audit.md and audit.png beside the data set, whose rows and names they hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data.faces import Faces


def audit(faces: Faces, other: Faces | None = None) -> dict[str, Any]:
    """Return all findings, ready for JSON; the comparison with `other` is kept beside `faces` for runs."""
    from data import audit_facts, audit_splits, beside, verdicts

    against = None
    if other is not None:
        against = asdict(verdicts.against(faces, other))
        beside.keep(faces, verdicts.against_name(other.fingerprint), json.dumps(against))
        against = {"name": other.name, "fingerprint": other.fingerprint, **against}
    found = {"format_version": 1, **audit_facts.facts(faces)}
    return {**found, "protocols": audit_splits.protocols(faces), "against": against}


def write(found: dict[str, Any], out: Path) -> None:
    """Write audit.json, audit.md and audit.png into `out`, each whole."""
    from data import audit_figure, audit_text

    out.mkdir(parents=True, exist_ok=True)
    for name, put in (
        ("audit.json", lambda path: path.write_text(json.dumps(found, indent=1) + "\n")),
        ("audit.md", lambda path: path.write_text(audit_text.markdown(found))),
        ("audit.png", lambda path: audit_figure.draw(found, path)),
    ):
        partial = out / f".{name}.{os.getpid()}"
        put(partial)
        partial.replace(out / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 refused by --strict, 2 a mistake, 3 disk."""
    args = _parser().parse_args(arguments)
    from data import audit_text
    from data.errors import DataError
    from data.faces import Faces

    try:
        faces = Faces.open(args.path)
        other = Faces.open(args.against) if args.against is not None else None
        print(f"comparing {len(faces):,} pictures with each other", file=sys.stderr)
        found = audit(faces, other)
        out = args.out or faces.root / "audit"
        write(found, out)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; give another place with --out", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print("\n".join(audit_text.summary(found)))
    print(f"results: {out}/audit.md, audit.json, audit.png")
    print(f"next: python -m orchestration.train --space utkface.yaml data.root={shlex.quote(str(args.path))}")
    refusals = _refusals(found) if args.strict else []
    for refusal in refusals:
        print(f"strict: {refusal}", file=sys.stderr)
    return 1 if refusals else 0


def _refusals(found: dict[str, Any]) -> list[str]:
    """Return why --strict lets a data set not pass: what leaks, and what a damaged file leaves open."""
    from data import audit_splits

    leaks = audit_splits.leaking(found["protocols"])
    against = found["against"]
    if not leaks and against is not None and against["verdict"] == "leak":
        leaks = [against["name"]]
    unread = audit_splits.unread(found["protocols"])
    told = (("test leaks into train", leaks), ("cannot be determined, the stored split is damaged", unread))
    return [f"{reason}: {', '.join(names)}" for reason, names in told if names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data.audit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", help="data set made by data.prepare")
    parser.add_argument(
        "--against", metavar="OTHER", help="data set that a model saw before: what do the two share?"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default PATH/audit)")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit 1 where test leaks into train, or a stored split cannot be read",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
