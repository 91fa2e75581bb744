"""Tasks on this machine: in this process while that is quicker, then on one worker process for each core."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from sim.work import Answer, Task, run_elsewhere

WORTHWHILE = 3.0
"""Seconds that workers must save before they are started: each first imports what it needs, which takes one or two."""

IDLE = 60.0
"""Seconds after which a worker that has nothing to do ends."""

_warm_until = 0.0
_executor: Any = None
_workers = 0  # of the executor


def run(tasks: list[Task], jobs: int, tick: Callable[[], Any], *, processes_allowed: bool = True) -> Generator[Answer, None, None]:
    """Answers of `tasks` on `jobs` cores, in the order in which they come; `tick` is called about once a second meanwhile.

    Unless `processes_allowed`, on threads of this process.

    Raises
    ------
    ChildProcessError
        If a task ends its worker even when it has the machine to itself.
    """
    left = deque(tasks)
    spent, rate = 0.0, float("inf")
    while left and not (processes_allowed and _worthwhile(left, jobs, spent, rate)):
        task = left.popleft()
        answer = task.run(threads=jobs)
        # The least: a first task also loads what the later ones find.
        spent, rate = spent + answer.seconds, min(rate, answer.seconds / task.weight)
        yield answer
    if left:
        yield from _on_workers(sorted(left, key=lambda task: -task.weight), jobs, tick)


def _worthwhile(left: deque[Task], jobs: int, spent: float, rate: float) -> bool:
    if jobs == 1 or len(left) == 1:
        return False
    if time.monotonic() < _warm_until:
        return True
    return spent > 0 and rate * sum(task.weight for task in left) * (1 - 1 / jobs) > WORTHWHILE


def _on_workers(tasks: list[Task], jobs: int, tick: Callable[[], Any]) -> Generator[Answer, None, None]:
    """Answers from worker processes, heaviest tasks first so that no core waits long at the end.

    When a worker is killed, most likely for want of memory, there will be half as many, and what was being computed is first tried
    again with one worker alone: whichever task kills that one is named.
    """
    global _warm_until, _workers
    waiting, suspects, count = deque(tasks), deque[Task](), jobs
    try:
        while waiting or suspects:
            alone = bool(suspects)
            queue = suspects if alone else waiting
            # No more workers than tasks: each takes a second to start, and memory.
            lost = yield from _flow(queue, 1 if alone else min(count, len(queue)), tick)
            if lost and alone:
                raise ChildProcessError(
                    f"the process that computed {lost[0]} ended twice, the second time with nothing beside it: most likely the memory "
                    f"({psutil.virtual_memory().total / 2**30:.0f} GiB) is too small for it"
                )
            if lost:
                _workers = 0
                suspects, count = deque(lost), max(1, count // 2)
    except BaseException:
        # Ctrl-C, an error in a task, or nobody wants the rest: nothing goes on behind the back of whoever is told so.
        stop()
        raise
    _warm_until = time.monotonic() + IDLE / 2


def _flow(waiting: deque[Task], count: int, tick: Callable[[], Any]) -> Generator[Answer, None, list[Task]]:
    """Compute what is `waiting`, `count` tasks at once; returns the tasks under way when a worker was lost, the others still waiting."""
    pool = _pool(count)
    flying: dict[Future[Answer], Task] = {}
    arrived: SimpleQueue[Future[Answer]] = SimpleQueue()
    lost: list[Task] = []
    broken = False
    while flying or (waiting and not broken):
        while waiting and len(flying) < count and not broken:
            try:
                with _interrupts_held():
                    future = pool.submit(run_elsewhere, waiting[0])
            except BrokenExecutor:
                broken = True
                break
            flying[future] = waiting.popleft()
            future.add_done_callback(arrived.put)
        try:
            future = arrived.get(timeout=1)
        except Empty:
            tick()
            continue
        task = flying.pop(future)
        try:
            answer = future.result()
        except BrokenExecutor:
            broken = True
            lost.append(task)
            continue
        yield answer
    return lost


def _pool(count: int) -> Any:
    global _executor, _workers
    from joblib.externals.loky import get_reusable_executor

    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
    # Not fewer than there are: the next sweep may have use for them.
    _workers = max(count, _workers)
    with _interrupts_held():
        _executor = get_reusable_executor(
            max_workers=_workers, timeout=IDLE, initializer=_begin_worker, initargs=(os.getpid(),), env=single
        )
    return _executor


def stop() -> None:
    """Kill the workers, if there are any."""
    global _warm_until, _executor, _workers
    _warm_until, _workers = 0.0, 0
    if _executor is not None:
        _executor.shutdown(wait=True, kill_workers=True)
        _executor = None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back: a process started meanwhile never hears it, so that this one alone decides what ends, and when."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(parent: int) -> None:
    """A worker does not outlive the process that started it, however that ends."""
    starter = psutil.Process(parent)

    def watch() -> None:
        # A parent that nobody has buried yet still counts as running, but has lost its children.
        while os.getppid() == parent and starter.is_running():
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
