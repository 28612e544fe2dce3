"""Stands in for a browser in the soak test: requests picture after picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def attached(url: str) -> Iterator[Callable[[], dict[str, int]]]:
    """Run the client as another process; yield a function that ends it and returns its counts."""
    command = [sys.executable, __file__, url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def counts() -> dict[str, int]:
        output, _ = process.communicate("\n")
        values: dict[str, int] = json.loads(output)
        return values

    try:
        yield counts
    finally:
        process.kill()
        process.wait()


async def watch(url: str) -> dict[str, int]:
    """Request pictures until the page closes or a line arrives on stdin."""
    import aiohttp

    counts = {"pictures": 0, "picture_bytes": 0, "states": 0}
    loop = asyncio.get_running_loop()
    stop = loop.run_in_executor(None, sys.stdin.readline)
    async with aiohttp.ClientSession() as session, session.ws_connect(url + "live") as socket:
        await socket.send_str("next")
        while not stop.done():
            message = asyncio.ensure_future(socket.receive())
            await asyncio.wait({stop, message}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
            elif message.result().type == aiohttp.WSMsgType.BINARY:
                counts["pictures"] += 1
                counts["picture_bytes"] += len(message.result().data)
                await socket.send_str("next")
            elif message.result().type == aiohttp.WSMsgType.TEXT:
                counts["states"] += 1
            else:
                break
    return counts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(sys.argv[1]))))
    sys.stdout.flush()
