"""Tasks on a cluster: sent to a Dask scheduler, which gives the tasks of a worker that dies to others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from queue import Empty, SimpleQueue
from typing import Any

from sim.work import Answer, Task, run_elsewhere
from theory.errors import InvalidInput

PATIENCE = 10.0
"""Seconds in which a scheduler must answer, and have a worker."""

ABANDONED = 60.0
"""Seconds without any worker after which a sweep that has begun gives up."""


class Cluster:
    """A connection to a scheduler.

    Parameters
    ----------
    address : str
    client : distributed.Client
    """

    def __init__(self, address: str, client: Any) -> None:
        self.address, self._client = address, client

    def run(self, tasks: list[Task], tick: Callable[[], Any]) -> Generator[Answer, None, None]:
        """Answers of `tasks` in the order in which they come; `tick` is called about once a second meanwhile.

        Raises
        ------
        InvalidInput
            If a worker has other source than this process.
        ConnectionError
            If the scheduler is lost, or all workers are.
        ChildProcessError
            If a task ends every worker that tries it.
        """
        from distributed import KilledWorker

        if not tasks:
            return
        self._check_source(tasks[0])
        arrived: SimpleQueue[Any] = SimpleQueue()
        # pure=False: what is kept is the cache's business, not the scheduler's. Heaviest first, so that no worker waits long at the end.
        flying = {
            self._client.submit(run_elsewhere, task, pure=False, priority=task.weight): task
            for task in sorted(tasks, key=lambda task: -task.weight)
        }
        for future in flying:
            future.add_done_callback(arrived.put)
        seen = time.monotonic()
        try:
            while flying:
                try:
                    future = arrived.get(timeout=1)
                except Empty:
                    tick()
                    seen = self._last_seen(seen)
                    continue
                task = flying.pop(future)
                if future.status in ("cancelled", "lost"):
                    raise self._lost()
                try:
                    yield future.result()
                except KilledWorker:
                    raise ChildProcessError(
                        f"{task} ended every worker of the cluster {self.address} that tried it: most likely their memory is too small"
                    ) from None
        finally:
            if flying and self._client.status == "running":
                self._client.cancel(list(flying), force=True)

    def _check_source(self, task: Task) -> None:
        module = task.function.__module__

        def about(name: str = module) -> tuple[str, str]:
            # Sent whole, since a worker without this package could not look it up.
            try:
                from importlib import metadata

                from sim.code import code_hash

                return metadata.version("ptoq"), code_hash(name)
            except Exception as error:
                return f"none ({type(error).__name__}: {error})", ""

        for worker, (version, code) in self._client.run(about).items():
            if code != task.code:
                ours = metadata.version("ptoq")
                raise InvalidInput(
                    f"the worker {worker} of the cluster {self.address} has ptoq {version} with source {code[:12] or 'none'} for {module}; "
                    f"only ptoq {ours} with source {task.code[:12]}, as here, is allowed (the source's hash includes NumPy's version)"
                )

    def _last_seen(self, before: float) -> float:
        """When a worker was last seen: now, or `before`, which is an error once it lies too far back."""
        if self._client.status != "running":
            raise self._lost()
        now = time.monotonic()
        if self._client.scheduler_info()["workers"]:
            return now
        if now - before > ABANDONED:
            raise ConnectionError(
                f"the cluster {self.address} has had no worker for {ABANDONED:.0f} s; what is finished is kept, "
                "and the same command goes on from there"
            )
        return before

    def _lost(self) -> ConnectionError:
        return ConnectionError(
            f"the cluster {self.address} stopped answering; what is finished is kept, and the same command goes on from there"
        )


async def _kind_of(address: str) -> str:
    """What answers at `address`: "Scheduler", "Worker" or "Nanny"."""
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> str:
        # With the user's certificates, if Dask is set up for them.
        async with rpc(address, connection_args=Security().get_connection_args("client")) as there:  # type: ignore[no-untyped-call]
            return str((await there.identity())["type"])

    return await asyncio.wait_for(ask(), PATIENCE)


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection to the scheduler at `address`.

    Raises
    ------
    InvalidInput
        If distributed is not installed, or at `address` no scheduler answers within `PATIENCE`, or it has no worker by then.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import resolve_address
    except ImportError:
        raise InvalidInput(
            f"the cluster {address!r} was asked for, but distributed is not installed: pip install 'ptoq[cluster]'"
        ) from None
    # What it has to say of a lost connection is said by the errors here.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        # First, since a client with such an address hangs when it is given up.
        resolve_address(address)
    except (ValueError, OSError) as error:
        raise InvalidInput(f"the cluster's address is {address!r}; one such as tcp://host:8786 is allowed ({error})") from None
    try:
        # First as well: a client waits for ever where something else listens, such as the scheduler's own web page.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(asyncio.run, _kind_of(address)).result()
        if kind != "Scheduler":
            raise InvalidInput(f"at {address!r} there is a {kind} of a cluster; the address of its Scheduler is allowed")
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except TimeoutError:
        raise InvalidInput(f"the cluster {address!r} did not answer within {PATIENCE:g} s; is there a Dask scheduler?") from None
    except InvalidInput:
        raise
    except Exception as error:
        # Whatever another server says, or TLS that is not set up.
        raise InvalidInput(f"at {address!r} no Dask scheduler answers ({type(error).__name__}: {error})") from None
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise InvalidInput(f"the cluster {address!r} has had no worker for {PATIENCE:g} s; at least 1 is needed") from None
        yield Cluster(address, client)
    finally:
        client.close(timeout=PATIENCE)
