"""Work ahead of its use, in a thread: objects are read and split while the database takes what was split before."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")

POLL_SECONDS = 0.1


class _Handover(Generic[Item]):
    """What a thread hands over: items, and at last that nothing more comes and why."""

    def __init__(self, count: int) -> None:
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(count)
        self._is_left = threading.Event()

    def fill(self, items: Iterable[Item]) -> None:
        """Put items in until there is no more, or nobody to take them."""
        try:
            for item in items:
                if not self._put((item,)):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, entry: tuple[Item] | BaseException | None) -> bool:
        while not self._is_left.is_set():
            try:
                self._queue.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def items(self) -> Iterator[Item]:
        """Yield the items, and raise what ended them."""
        while isinstance(entry := self._queue.get(), tuple):
            yield entry[0]
        if entry is not None:
            raise entry

    def leave(self) -> None:
        """Take no more: the thread ends with the item that it is at."""
        self._is_left.set()


@contextmanager
def prefetch(items: Iterable[Item], count: int) -> Iterator[Iterator[Item]]:
    """Iterate in a thread of its own, at most `count` items ahead of the block, which gets the items and any error."""
    handover: _Handover[Item] = _Handover(count)
    # A daemon: a read that hangs in the network must not keep a process that has given up from ending.
    threading.Thread(target=handover.fill, args=[items], name="prefetch", daemon=True).start()
    try:
        yield handover.items()
    finally:
        handover.leave()
