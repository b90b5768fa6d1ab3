"""What can end a run that fails: the words of its `cause`."""

from __future__ import annotations

NOT_FINITE, OUT_OF_MEMORY, EXCEPTION, HANG, DIED = (
    "not finite",
    "out of memory",
    "exception",
    "hang",
    "process died",
)
CAUSES = (NOT_FINITE, OUT_OF_MEMORY, EXCEPTION, HANG, DIED)
