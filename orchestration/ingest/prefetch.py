"""Prefetching in a thread: an object is read and split while the database stores earlier chunks of it."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")

POLL_SECONDS = 0.1


class _Channel(Generic[Item]):
    """Passes items from a thread to its consumer, then the end or the error that ended them."""

    def __init__(self, count: int) -> None:
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(count)
        self._is_closed = threading.Event()

    def fill(self, items: Iterable[Item]) -> None:
        """Put items into the queue until there are no more, or the consumer is gone."""
        try:
            for item in items:
                if not self._put((item,)):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, entry: tuple[Item] | BaseException | None) -> bool:
        while not self._is_closed.is_set():
            try:
                self._queue.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def items(self) -> Iterator[Item]:
        """Yield the items, and raise the error that ended them, if any."""
        while isinstance(entry := self._queue.get(), tuple):
            yield entry[0]
        if entry is not None:
            raise entry

    def close(self) -> None:
        """Stop consuming: the thread ends after its current item."""
        self._is_closed.set()


@contextmanager
def prefetch(items: Iterable[Item], count: int) -> Iterator[Iterator[Item]]:
    """Iterate in a separate thread, at most `count` items ahead of the block, which gets the items and any error."""
    channel: _Channel[Item] = _Channel(count)
    # A daemon thread, so that a read that hangs in the network does not keep the process from exiting.
    threading.Thread(target=channel.fill, args=[items], name="prefetch", daemon=True).start()
    try:
        yield channel.items()
    finally:
        channel.close()
