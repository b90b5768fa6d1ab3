"""A progress line: one that is redrawn on a terminal, plain lines now and then in a log."""

import sys
import time


class Progress:
    """Counts to `total` on stderr, with the rate and the time that remains."""

    def __init__(self, total: int, label: str, unit: str, log_seconds: float = 5) -> None:
        self.total, self.label, self.unit, self._log_seconds = total, label, unit, log_seconds
        self.done = self._skipped = 0
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Count n more; the line is redrawn at most 10 times a second (a log: once in `log_seconds`)."""
        self.done += n
        now = time.monotonic()
        if now - self._shown >= (0.1 if self._terminal else self._log_seconds):
            self._shown = now
            self._show(now)

    def skip(self, n: int) -> None:
        """Count n that were done before; they don't enter the rate."""
        self.done += n
        self._skipped += n

    def wipe(self) -> None:
        """Leave no line on a terminal: another one says how it ended."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Show the last count and end the line."""
        self._show(time.monotonic(), end="\n")

    def _show(self, now: float, end: str = "") -> None:
        rate = (self.done - self._skipped) / max(now - self._start, 1e-6)
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        line = f"{self.label}: {self.done:,}/{self.total:,} {self.unit}, {rate:,.0f}/s{left}"
        if self._terminal:
            print(f"\r{line}\x1b[K", end=end, file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


class Silent(Progress):
    """Counts and shows nothing."""

    def _show(self, now: float, end: str = "") -> None:
        pass
