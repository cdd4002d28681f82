"""A proxy in front of an object store: it counts what a client sends, and fails what it is told to.

In: the store's port. Out: a `Seen` for each request that came: method, path, query, how many bytes of content, and
whether the store was given all of it. It answers nothing of itself but the failures that are ordered.

Invariants: what is not failed goes through unchanged, in the same order; a failed request never reaches the store
whole. The proxy lives in a thread of its own and ends with `close`.
"""

import asyncio
import random
import threading
import urllib.parse
from dataclasses import dataclass, field

BLOCK = 256 << 10
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
)
SLOW_DOWN_BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>ordered by the test</Message></Error>"


@dataclass
class Seen:
    """A request."""

    method: str
    path: str
    query: dict
    length: int
    whole: bool = False
    failed: str = ""

    @property
    def carries(self):
        """What it carries, as `key` or `key#part`; nothing for requests without content of an object."""
        if self.method != "PUT" or self.path.count("/") < 2:
            return ""
        part = self.query.get("partNumber")
        return self.path.split("/", 2)[2] + (f"#{part}" if part else "")


@dataclass
class Faults:
    """What goes wrong: shares of all requests, chosen by a seed, or a function that says it of one."""

    slow_down: float = 0.0
    cut: float = 0.0
    seed: int = 0
    # Called with each request and its number from 1; returns "slow", "cut" or nothing. It may kill somebody, too.
    order: object = None
    chance: random.Random = field(init=False)

    def __post_init__(self):
        self.chance = random.Random(self.seed)

    def of(self, seen, number):
        drawn = self.chance.random()
        if self.order and (ordered := self.order(seen, number)):
            return ordered
        if drawn < self.slow_down:
            return "slow"
        return "cut" if drawn < self.slow_down + self.cut else ""


class Proxy:
    """Counts and fails. `with Proxy(port) as proxy: proxy.port`."""

    def __init__(self, port, faults=None):
        self.to, self.faults = port, faults or Faults()
        self.seen, self.port = [], None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ready = threading.Event()

    def __enter__(self):
        self.thread.start()
        if not self.ready.wait(10):
            raise SystemExit("the proxy did not start")
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def fresh(self, faults=None):
        """Forgets what it saw, and orders other faults."""
        self.seen, self.faults = [], faults or Faults()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        served = asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 20, backlog=512)
        server = self.loop.run_until_complete(served)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()

    async def _connection(self, reader, writer):
        answers = None
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to, limit=1 << 20)
            answers = asyncio.ensure_future(self._answers(to_reader, writer))
            while await self._request(reader, writer, to_writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            if answers:
                answers.cancel()
                to_writer.close()
            writer.close()

    async def _answers(self, reader, writer):
        """The store's answers, as they come. When the store ends the connection, so does the proxy."""
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        writer.close()

    async def _request(self, reader, writer, to):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if ": " in line)}
        if headers.get("transfer-encoding"):
            raise SystemExit(f"the proxy knows no content of unknown length: {lines[0]}")
        path, _, query = target.partition("?")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        seen = Seen(method, urllib.parse.unquote(path), query, int(headers.get("content-length", 0)))
        self.seen.append(seen)
        seen.failed = self.faults.of(seen, len(self.seen))
        if seen.failed == "slow":
            if headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._content(reader, None, seen.length)
            writer.write(SLOW_DOWN % (len(SLOW_DOWN_BODY), SLOW_DOWN_BODY))
            await writer.drain()
            return True
        to.write(head)
        if seen.failed == "cut":
            # In the middle of what it carries; what carries nothing is done, and its answer lost.
            await self._content(reader, to, seen.length // 2)
            await to.drain()
            return False
        await self._content(reader, to, seen.length)
        await to.drain()
        seen.whole = True
        return True

    async def _content(self, reader, to, length):
        while length > 0:
            block = await reader.read(min(length, BLOCK))
            if not block:
                raise ConnectionResetError
            length -= len(block)
            if to:
                to.write(block)
                await to.drain()
