"""What all benchmarks get: where to work, the programs, and how much to measure."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.process import timed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.process import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``quick`` asks for few rounds of a part; ``kinds`` and ``groups`` limit a run to some of them."""

    scratch: Path
    uv: str
    quick: bool = False
    rounds: int | None = None
    kinds: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def python(self) -> str:
        """The interpreter of all environments."""
        return os.path.realpath(sys.executable)

    @property
    def pipm(self) -> str:
        """The program as an installer makes it."""
        return f"{sys.prefix}/bin/pipm"

    def count(self, quick: int, whole: int) -> int:
        """Return the number of rounds: that of the command line, else one of these."""
        return self.rounds or (quick if self.quick else whole)

    def folder(self, name: str) -> Path:
        """Return a folder of its own for a benchmark; it stays, so that the next run begins at once."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(
        self,
        command: str | Sequence[str | Path],
        *,
        environ: Mapping[str, str | Path] | None = None,
        cwd: Path | None = None,
        allowed: Sequence[int] = (0,),
    ) -> dict[str, float]:
        """Run *command*, of the shell if it is text; return its seconds of wall and of processor time."""
        return figures(self.timing(command, environ=environ, cwd=cwd, allowed=allowed))

    def timing(
        self,
        command: str | Sequence[str | Path],
        *,
        environ: Mapping[str, str | Path] | None = None,
        cwd: Path | None = None,
        allowed: Sequence[int] = (0,),
    ) -> Timing:
        """Run *command*; SystemExit with its last words where it fails."""
        words = ["sh", "-c", command] if isinstance(command, str) else [*map(str, command)]
        out, err = self.scratch / "stdout", self.scratch / "stderr"
        done = timed(words, stdout=out, stderr=err, environ=environ, cwd=cwd)
        if done.exit_code not in allowed:
            said = err.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{shlex.join(words)} ended with {done.exit_code}:\n{said}")
        return done

    def printed(self) -> str:
        """Return what the last command printed."""
        return (self.scratch / "stdout").read_text()


def figures(timing: Timing) -> dict[str, float]:
    """Return the times of *timing* as a record has them."""
    return {"wall": round(timing.wall, 4), "processor": round(timing.cpu, 4)}
