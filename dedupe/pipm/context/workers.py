"""Forked worker processes that run the same stages in parallel.

In CPython, threads make work on small files slower; two processes need about half the time. On request the
workers stop after the current file. They end when their parent ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import struct
import sys

from pipm.core.named_tuple import NamedTuple
from pipm.errors import InterruptedRunError, PipmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO, Any, Protocol

    from pipm.context.progress import Progress

    class Worker(Protocol):
        """An object whose stages a worker process runs."""

        def run(self, stage: Any) -> Any:  # noqa: ANN401 - each kind of worker has its own stages and answers
            """Run one stage and return its picklable answer."""

        def close(self) -> None:
            """Free the resources of the stages."""


_PR_SET_PDEATHSIG = 1
_TICK = 100
"""Milliseconds between two reads of the workers' progress."""
_TOLD_EVERY = 64
_WORTH_FORKING = 2000
"""The number of files from which on a second process saves time."""
_COUNTERS = struct.Struct("=QQ")


class SharedState:
    """Memory that all processes of a run share: a request to stop, and numbers of finished files."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._slot = 0
        self._files = 0
        self._bytes = 0

    def stop(self) -> None:
        """Ask all processes to stop after the current file."""
        self._memory[0] = 1

    @property
    def stopping(self) -> bool:
        """True after a call of `stop`."""
        return self._memory[0] != 0

    def check(self) -> None:
        """Raise InterruptedRunError if `stop` was called; call this between two files."""
        if self._memory[0]:
            raise InterruptedRunError("Interrupted", hint=INTERRUPTED_HINT)

    def restart(self) -> None:
        """Reset the counters for other work."""
        self._memory[_COUNTERS.size :] = bytes(len(self._memory) - _COUNTERS.size)
        self._files = self._bytes = 0

    def use_slot(self, number: int) -> None:
        """Count in the slot of worker *number*."""
        self._slot = number
        self._files = self._bytes = 0
        self.tell()

    def advance(self, size: int, files: int = 1) -> None:
        """Count *files* more finished files, with *size* bytes together."""
        self._files += files
        self._bytes += size
        if not self._files % _TOLD_EVERY:
            self.tell()

    def count(self, size: int) -> None:
        """Count *size* bytes of unfinished files, and publish the numbers."""
        self._bytes += size
        self.tell()

    def tell(self) -> None:
        """Publish the numbers of this process."""
        _COUNTERS.pack_into(self._memory, 16 * (1 + self._slot), self._files, self._bytes)

    def done(self) -> tuple[int, int]:
        """Return the numbers of files and bytes that all workers finished."""
        slots = [_COUNTERS.unpack_from(self._memory, 16 * (1 + slot)) for slot in range(64)]
        return sum(files for files, _ in slots), sum(size for _, size in slots)


INTERRUPTED_HINT = "nothing is lost; run the same command again to finish"


@contextlib.contextmanager
def interruptible(shared_state: SharedState) -> Iterator[None]:
    """Make Ctrl-C (and SIGTERM) stop *shared_state* instead of raising an exception anywhere."""

    def ask(_signal: int, _frame: object) -> None:
        shared_state.stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WorkerPool:
    """Workers that run stages in parallel, one process each; a single worker runs in this process."""

    def __init__(
        self, workers: Sequence[Worker], shared_state: SharedState, tick: Callable[[], None]
    ) -> None:
        self._shared_state = shared_state
        self._tick = tick
        shared_state.restart()
        self._inline = workers[0] if len(workers) == 1 else None
        self._children: list[_Child] = []
        if self._inline is None:
            for number, worker in enumerate(workers):
                self._fork(number, worker)

    def _fork(self, number: int, worker: Worker) -> None:
        # multiprocessing is not used: its import takes longer than two forks.
        requests, to_child = os.pipe()
        from_child, answers = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                for one in self._children:
                    one.close()
                os.close(to_child)
                os.close(from_child)
                with open(requests, "rb") as reader, open(answers, "wb") as writer:
                    _work(worker, reader, writer, self._shared_state, number, parent)
            finally:
                os._exit(0)  # always, because the child must not run the code of the parent
        os.close(requests)
        os.close(answers)
        self._children.append(_Child(pid, open(to_child, "wb"), open(from_child, "rb")))  # noqa: SIM115

    def run(self, stage: Any, idle: Callable[[], object] = int) -> list[Any]:  # noqa: ANN401 - likewise
        """Run *stage* in all workers and return their answers; raise the first error when all have ended.

        *idle* is called while other processes work.
        """
        if self._inline is not None:
            answers = [self._inline.run(stage)]
            self._tick()
            return answers
        for child in self._children:
            child.send(stage)
        idle()
        answers = self._collect(self._shared_state.stop)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        # If one worker fails, the others are stopped: their "interrupted" is not the cause.
        for error in sorted(errors, key=lambda error: isinstance(error, InterruptedRunError)):
            raise error
        return answers

    def run_all(self, stage: Any) -> list[Any]:  # noqa: ANN401 - likewise
        """Run *stage* in all workers, which are several; return their answers, errors among them.

        If a worker fails, the others continue.
        """
        for child in self._children:
            child.send(stage)
        return self._collect(int)

    def _collect(self, failed: Callable[[], object]) -> list[Any]:
        import select  # noqa: PLC0415 - a single worker does not need it

        waiting = {child.answers.fileno(): number for number, child in enumerate(self._children)}
        poll = select.poll()
        for file in waiting:
            poll.register(file, select.POLLIN)
        answers: list[Any] = [None] * len(self._children)
        while waiting:
            for file, _ in poll.poll(_TICK):
                poll.unregister(file)
                number = waiting.pop(file)
                answers[number] = self._children[number].receive()
                if isinstance(answers[number], BaseException):
                    failed()
            self._tick()
        return answers

    def close(self) -> None:
        """End all workers."""
        if self._inline is not None:
            self._inline.close()
        for child in self._children:
            child.close()
        for child in self._children:
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
                os.waitpid(child.pid, 0)


class _Child(NamedTuple):
    """A forked worker, and the pipes to it and from it."""

    pid: int
    requests: IO[bytes]
    answers: IO[bytes]

    def send(self, stage: Any) -> None:  # noqa: ANN401 - each kind of worker has its own stages and answers
        """Make it run *stage*; if it died, `receive` raises the error."""
        import pickle  # noqa: PLC0415 - a command without workers does not need it

        with contextlib.suppress(BrokenPipeError):
            pickle.dump(stage, self.requests)
            self.requests.flush()

    def receive(self) -> Any:  # noqa: ANN401 - likewise
        """Return its answer, or raise an error if it has none."""
        import pickle  # noqa: PLC0415 - likewise

        try:
            return pickle.load(self.answers)  # noqa: S301 - from a fork of this process
        except (EOFError, pickle.UnpicklingError):
            return PipmError("A worker process ended unexpectedly", hint="run the same command again")

    def close(self) -> None:
        """Close the pipes; then the worker ends."""
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _work(
    worker: Worker,
    requests: IO[bytes],
    answers: IO[bytes],
    shared_state: SharedState,
    number: int,
    parent: int,
) -> None:
    import pickle  # noqa: PLC0415 - likewise

    _end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    shared_state.use_slot(number)
    try:
        while True:
            stage = pickle.load(requests)  # noqa: S301 - from the parent process
            try:
                answer = worker.run(stage)
            except Exception as error:  # noqa: BLE001 - it is raised again in the parent
                answer = error
            pickle.dump(answer, answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        worker.close()


def _end_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class WorkQueue:
    """A queue of numbers from 0 for several processes; each number is given to one of them.

    The queue is a pipe: one read gives all bytes of a number to one reader. A pipe always has room for one
    page; if there are more numbers, each item represents several.
    """

    _FORMAT = struct.Struct("=I")
    _MOST = 4096 // _FORMAT.size

    def __init__(self, count: int) -> None:
        self._count = count
        self._reader, writer = os.pipe()
        os.write(writer, b"".join(map(self._FORMAT.pack, range(min(count, self._MOST)))))
        os.close(writer)

    def __iter__(self) -> Iterator[int]:
        """Yield numbers until the queue is empty."""
        while item := os.read(self._reader, self._FORMAT.size):
            yield from range(self._FORMAT.unpack(item)[0], self._count, self._MOST)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)


class ItemPipe:
    """A pipe by which one process gives items to several; each item goes to one of them.

    An item is pickled into one page at most, which a pipe takes and gives as a whole.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def put(self, item: object, stopping: Callable[[], bool]) -> bool:
        """Wait for room, and write *item*; return False if it does not fit, or once *stopping* is true.

        Raises BrokenPipeError if no process can read it any more.
        """
        import pickle  # noqa: PLC0415 - only fetching needs it
        import select  # noqa: PLC0415 - likewise

        data = pickle.dumps(item)
        if len(data) > select.PIPE_BUF:
            return False
        room = select.poll()  # select(2) knows no descriptors above 1023
        room.register(self._writer, select.POLLOUT)
        while not room.poll(_TICK):
            if stopping():
                return False
        os.write(self._writer, data.ljust(select.PIPE_BUF, b"\0"))
        return True

    def items(self, stopping: Callable[[], bool]) -> Iterator[Any]:
        """Yield items until the writing process closes its end, or *stopping* is true.

        *stopping* is called each time that nothing came for a while.
        """
        import pickle  # noqa: PLC0415 - likewise
        import select  # noqa: PLC0415 - likewise

        os.set_blocking(self._reader, False)  # another process may read the item that poll(2) saw
        some = select.poll()
        some.register(self._reader, select.POLLIN)
        while some.poll(_TICK) or not stopping():
            try:
                data = os.read(self._reader, select.PIPE_BUF)
            except BlockingIOError:
                continue
            if not data:
                return
            yield pickle.loads(data)  # noqa: S301 - from a fork of this process

    def end(self) -> None:
        """Close the end for writing; each process that has it does this."""
        os.close(self._writer)

    def close(self) -> None:
        """Close the end for reading."""
        os.close(self._reader)


@contextlib.contextmanager
def worker_pool(
    work: Callable[[int, WorkQueue], Worker],
    count: int,
    files: int,
    shared_state: SharedState,
    progress: Progress,
) -> Iterator[WorkerPool]:
    """Yield a pool of workers for *files* files and a queue of *count* numbers; *work* makes each worker."""

    def tick() -> None:
        progress.advance(*shared_state.done())

    queue = WorkQueue(count)
    pool = WorkerPool([work(number, queue) for number in range(worker_count(files))], shared_state, tick)
    try:
        yield pool
    finally:
        pool.close()
        queue.close()


def worker_count(files: int) -> int:
    """Return the number of processes for *files* files."""
    if files < _WORTH_FORKING or sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), 8)
