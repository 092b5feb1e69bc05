"""Threads that fit subjects side by side, on one device.

On a GPU every worker has a stream and recordings of its own: while one subject's photographs are read, its
face is found and its maps are exported, another's kernels run, and small kernels of several share the GPU. On
the CPU the workers divide torch's threads among themselves, so that they never are more than it had.

What belongs to a model on a GPU is made by whoever first asks, on its stream, and then read on all. It must be
there before two workers begin: `run` with one worker makes it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol

import torch

from hrnfit.fit.device import current_device
from hrnfit.fit.fallback import beside_others
from hrnfit.solve.recorded import lent_recordings


class Stopped(BaseException):
    """Raised inside a worker to leave its task unfinished."""


class Task(Protocol):
    """One piece of work, by its number; what it raises ends the work of all workers."""

    def __call__(self, index: int) -> None: ...


class Crew:
    """Workers that take tasks off one list until it is empty or somebody calls `close`."""

    def __init__(self, device: torch.device, count: int) -> None:
        self._device, self._count = device, count
        self._left: deque[int] = deque()
        self._lock = threading.Lock()
        self._raised: BaseException | None = None
        self.stopped = False
        """Whether running tasks should raise `Stopped` as soon as they can."""

    def close(self) -> None:
        """Hand out no further task."""
        with self._lock:
            self._left.clear()

    def run(self, tasks: Sequence[int], make: Callable[[], Task]) -> None:
        """Do the tasks, each worker with a `Task` of its own from `make`; raises what one of them raised.

        One worker on the CPU is the calling thread itself. When the call is interrupted, running tasks are told
        to stop and waited for.
        """
        self._left = deque(tasks)
        count = min(self._count, len(tasks))
        if count == 1 and self._device.type == "cpu":
            self._work(make, nullcontext())
        elif count:
            self._side_by_side(count, make)
        if self._raised is not None:
            raise self._raised

    def _side_by_side(self, count: int, make: Callable[[], Task]) -> None:
        torch_threads = torch.get_num_threads()
        share = max(1, torch_threads // count)

        def work() -> None:
            torch.set_num_threads(share)  # of this thread, and of those that begin later
            self._work(make, _place(self._device, count > 1))

        threads = [
            threading.Thread(target=work, name=f"hrnfit-fit-{i}", daemon=True) for i in range(count)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # an interrupt comes to this thread alone
            self.stopped = True
            self.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        finally:
            torch.set_num_threads(torch_threads)

    def _work(self, make: Callable[[], Task], place: AbstractContextManager[None]) -> None:
        try:
            with place:
                task = make()
                while (index := self._next()) is not None:
                    task(index)
        except Stopped:
            self.close()
        except BaseException as error:
            self.close()
            with self._lock:
                self._raised = self._raised or error

    def _next(self) -> int | None:
        with self._lock:
            return self._left.popleft() if self._left else None


@contextmanager
def _place(device: torch.device, others: bool) -> Generator[None]:
    """The device, with a stream and recordings of one's own; `others`: whether there are other workers."""
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(current_device(device))
            stack.enter_context(torch.cuda.stream(torch.cuda.Stream(device)))
            stack.enter_context(lent_recordings())
        if others:
            stack.enter_context(beside_others())
        yield
