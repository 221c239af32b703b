"""Running the environment's own interpreter to check and compile bytecode."""

from __future__ import annotations

import marshal
import os

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from typing import IO

    from pipm.env.interpreter import Interpreter

_SCRIPT = os.path.join(os.path.dirname(__file__), "compiler.py")


class BytecodeCheck(NamedTuple):
    """Check that the file *path* is timestamp bytecode of a source with this mtime (s) and size (bytes)."""

    path: str
    mtime: int
    size: int


class CompileTask(NamedTuple):
    """Compile *source* to the new file *target*, with this mtime (s) and size (bytes) in its header.

    ``digest`` is the sha256 of the source in hexadecimal; a source with another one is not compiled.
    """

    source: str
    digest: str
    filename: str
    target: str
    mtime: int
    size: int
    level: int


class CompareTask(NamedTuple):
    """Compare the file *path* with a new compilation of *source*, which has this sha256, mtime and size."""

    path: str
    source: str
    digest: str
    mtime: int
    size: int
    level: int


class CompilerProcess:
    """A process of the interpreter that does tasks until it is closed; it starts with the first task."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, tasks: Sequence[BytecodeCheck]) -> list[bool]:
        """Return the result of each check; all are False if the interpreter does not run."""
        answers = self._ask([("check", *task) for task in tasks])
        return [False] * len(tasks) if answers is None else [answer is True for answer in answers]

    def compile(self, tasks: Sequence[CompileTask]) -> list[int | None]:
        """Do each task; return True, or why there is no bytecode.

        False: the source does not compile. None: the source has another digest. 0: the disk or the
        interpreter failed.
        """
        return self._each("compile", tasks, unknown=0)

    def compare(self, tasks: Sequence[CompareTask]) -> list[int | None]:
        """Return the result of each comparison.

        It is None if the source has another digest, or if the interpreter does not run.
        """
        return self._each("compare", tasks, unknown=None)

    def _each(
        self, kind: str, tasks: Sequence[tuple[object, ...]], *, unknown: int | None
    ) -> list[int | None]:
        """Return the answer to each of *tasks*; *unknown* if the interpreter does not run."""
        answers = self._ask([(kind, *task) for task in tasks])
        if answers is not None:
            return list(answers)
        if not self._answers:
            return [unknown] * len(tasks)
        if len(tasks) == 1:
            return [False]  # this file kills the interpreter
        middle = len(tasks) // 2
        return [
            answer
            for part in (tasks[:middle], tasks[middle:])
            for answer in self._each(kind, part, unknown=unknown)
        ]

    @property
    def _answers(self) -> bool:
        """True if the interpreter runs at all."""
        return self._ask([("check", os.devnull, 0, 0)]) is not None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
            self._process = None

    def _ask(self, tasks: list[tuple[object, ...]]) -> list[bool | None] | None:
        """Return the answer to each of *tasks*; None if the process died."""
        if not tasks:
            return []
        try:
            requests, answers = self._pipes()
            data = marshal.dumps(tasks, 2)
            requests.write(len(data).to_bytes(4, "little") + data)
            requests.flush()
            length = int.from_bytes(answers.read(4), "little")
            found = marshal.loads(answers.read(length))  # noqa: S302 - our own script's answer
        except (OSError, EOFError, ValueError, TypeError):
            found = None  # it died, for example of a damaged .pyc
            self.close()
        if not isinstance(found, list) or len(found) != len(tasks):
            return None
        return found

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            import subprocess  # noqa: PLC0415 - most syncs do not compile

            self._process = subprocess.Popen(
                [self.interpreter.path, "-I", "-S", "-B", "-W", "ignore", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C must reach only pipm
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout
