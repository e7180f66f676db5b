"""Stages that overlap: each runs on a thread of its own, one item ahead of the next."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from .budget import Budget

Item = TypeVar("Item")


def ahead(items: Iterable[Item], budget: Budget) -> Iterator[Item]:
    """The items, made on a thread of their own one ahead of who asks for them. An exception there comes out here.

    Once the budget is closed, both ends let go within a tenth of a second.
    """
    ready: queue.Queue = queue.Queue(1)

    def put(item: Item | None, error: BaseException | None) -> None:
        while not budget.closed:
            with contextlib.suppress(queue.Full):
                ready.put((item, error), timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                del item
                if budget.closed:
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    threading.Thread(target=work, daemon=True).start()
    while not budget.closed:
        with contextlib.suppress(queue.Empty):
            item, error = ready.get(timeout=0.1)
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
            del item
