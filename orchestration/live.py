"""What a person sees while runs go: one live table on a terminal, a line for every end elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestration.console import duration, labels, number
from orchestration.progress import Live, Progress
from orchestration.records import Member

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

ENDED_SHOWN = 6
FIXED_COLUMNS = 46  # of characters: name, state, epoch, best


class Console:
    """A Watcher that writes to stderr; results go to stdout. `with` leaves the terminal clean."""

    def __init__(self, progress: Progress, metric: str, paths: Sequence[str] = ()) -> None:
        """`paths` are the parameters that vary."""
        self.progress = progress
        self.metric = metric
        self.names = labels(paths)
        self.latest: deque[Live] = deque(maxlen=ENDED_SHOWN)
        self._screen: Any = None

    def __enter__(self) -> Console:
        if sys.stderr.isatty():
            from rich.console import Console as Terminal
            from rich.live import Live as Screen

            terminal = Terminal(stderr=True)
            self._screen = Screen(
                get_renderable=lambda: self.table(terminal.width),
                console=terminal,
                transient=True,
                refresh_per_second=2,
            )
            self._screen.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._screen is not None:
            self._screen.stop()

    def started(self, member: Member) -> None:
        """A member begins, or goes on."""
        self.progress.started(member)

    def epoch(self, member: Member, line: Mapping[str, Any]) -> None:
        """An epoch of a member is over."""
        self.progress.epoch(member, line)

    def ended(self, member: Member) -> None:
        """A member is over. Where there is no table, or when it failed, a line says so."""
        epoch = self.progress.running.get(member.name, Live(member)).epoch
        self.progress.ended(member)
        self.latest.append(Live(member, epoch, member.value))
        if self._screen is None:
            print(self._line(member, epoch), file=sys.stderr, flush=True)
        elif member.status == "failed":
            self.say(f"{member.name} failed: {member.reason}")

    def say(self, line: str) -> None:
        """A line beside the runs."""
        if self._screen is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._screen.console.print(line, markup=False, highlight=False)

    def _line(self, member: Member, epoch: int) -> str:
        after = f" after epoch {epoch}" if member.status == "pruned" else ""
        reached = f"{self.metric} {number(member.value)}" if member.value is not None else ""
        reason = f" ({member.reason})" if member.reason else ""
        params = ", ".join(f"{self.names.get(k, k)}={number(v)}" for k, v in member.params.items())
        words = " ".join(filter(None, [member.name, f"{member.status}{after}", f"{reached}{reason}"]))
        done = f"[{self.progress.done}/{self.progress.total}]"
        return f"{done} {words}  {params}  | {self.pace()}"

    def pace(self) -> str:
        """Best so far, rate and time left."""
        best = f"best {number(self.progress.best)}, " if self.progress.best is not None else ""
        left = self.progress.seconds_left()
        until = f"about {duration(left)} left" if left is not None else "time left: after the first epoch"
        return f"{best}{self.progress.per_minute():.1f}/min, {until}"

    def counts(self) -> str:
        """How many of how many, by state."""
        words = [f"{count} {status}" for status, count in self.progress.tally.items() if count]
        if self.progress.running:
            words.append(f"{len(self.progress.running)} running")
        return f"{self.progress.done}/{self.progress.total} done: {', '.join(words) or 'starting'}"

    def table(self, width: int) -> RenderableType:
        """The live table, at most `width` characters wide."""
        from rich.console import Group
        from rich.text import Text

        title = Text(f"{self.counts()}  |  {self.pace()}", no_wrap=True, overflow="ellipsis")
        return Group(title, self._rows(width))

    def _rows(self, width: int) -> Table:
        from rich.table import Table

        shown, room = [], width - FIXED_COLUMNS
        for path, name in self.names.items():
            room -= max(len(name), 9) + 2
            if room >= 0:
                shown.append(path)
        made = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        hidden = len(self.names) - len(shown)
        columns = ["", "state", "epoch", self.metric, *(self.names[path] for path in shown)]
        for column in [*columns, *([f"+{hidden}"] if hidden else [])]:
            made.add_column(column, no_wrap=True)
        for live in [*self.latest, *sorted(self.progress.running.values(), key=lambda one: one.member.name)]:
            member = live.member
            best = number(live.best) if live.best is not None else ""
            values = [number(member.params[path]) if path in member.params else "-" for path in shown]
            made.add_row(
                member.name,
                member.status,
                f"{live.epoch}/{self.progress.stopping.epochs}",
                best,
                *values,
                style={"failed": "red", "complete": "green", "pruned": "dim"}.get(member.status),
            )
        return made
