"""A browser without a window, driven through a pipe (DevTools protocol): open pages, click, look at pixels."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--remote-debugging-pipe",
]
STILL = """(async () => {
    const frame = () => new Promise(done => setTimeout(done, 20)), chosen = CHOSEN;
    if (!chosen || chosen.disabled) return null;
    chosen.scrollIntoView({block: 'center'});
    const before = chosen.getBoundingClientRect();
    await frame(); await frame();
    const b = chosen.getBoundingClientRect(), at = [b.x + b.width / 2, b.y + b.height / 2];
    if (b.x !== before.x || b.y !== before.y || !chosen.contains(document.elementFromPoint(...at))) return null;
    window.hit = null;
    document.addEventListener('mousedown', e => { window.hit = chosen.contains(e.target) }, {capture: true, once: true});
    return at;
})()"""  # where to click what stands still and is covered by nothing; `hit` says whether the mouse met it
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # nothing but this machine is reached


class Browser:
    """One page of Chromium. What a page says went wrong is in `faults`; addresses that it could not load among them."""

    def __init__(self, profile: Path, size: tuple[int, int] = (1280, 900), patience: float = 60):
        self.patience, self.number, self.buffer, self.faults = patience, 0, b"", list[str]()
        # Chromium reads commands from 3 and writes answers to 4.
        ours, theirs = zip(*(self._pipe(way) for way in "wr"), strict=True)
        self.write, self.read = ours
        self.process = subprocess.Popen(
            [
                str(CHROMIUM),
                *FLAGS,
                OFFLINE,
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=lambda: [os.dup2(end, n) for n, end in zip((3, 4), theirs, strict=True)],
        )
        for end in theirs:
            os.close(end)
        self.session = ""
        targets = self("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    @staticmethod
    def _pipe(way: str) -> tuple[int, int]:
        """Our end and theirs, none of them 3 or 4."""
        ends = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
        for end in ends:
            os.close(end)
        return (high[1], high[0]) if way == "w" else (high[0], high[1])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for end in (self.write, self.read):
            os.close(end)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, wait for its answer. Raises RuntimeError for one that is refused, TimeoutError for none."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": params}
        os.write(self.write, json.dumps({**asked, **({"sessionId": self.session} if self.session else {})}).encode() + b"\0")
        end = time.monotonic() + self.patience
        while True:
            found = self._next(end)
            if found.get("id") == self.number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]
            self._hear(found)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.faults.append(str(details.get("exception", {}).get("description") or details["text"]))
        elif event.get("method") == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.faults.append(f"{said['entry']['text']} {said['entry'].get('url', '')}".strip())

    def open(self, address: str) -> None:
        self("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        done = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails'].get('exception', {}).get('description')}")
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; what it is then. Raises TimeoutError with what the page shows."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            try:
                if found := self.run(script):
                    return found
            except RuntimeError:
                pass  # the page is between two others
            time.sleep(0.1)
        raise TimeoutError(f"never: {script}; the page: {self.run('document.body.innerText')[:800]!r}; faults: {self.faults}")

    def click(self, selector: str, text: str = "") -> None:
        """Click, as a mouse does, the first thing that a selector finds, of this text if one is given. A page that fills
        moves it: the click waits until it stands where it stood two frames ago, and is made again if it fell beside it."""
        wanted = json.dumps(text)
        chosen = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find(e => !{wanted} || e.textContent.trim() === {wanted})"
        )
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            x, y = self.until(STILL.replace("CHOSEN", chosen))
            for kind in ("mousePressed", "mouseReleased"):
                self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            if self.run("window.hit !== false"):  # another page by now: then it fell where it should
                return
        raise TimeoutError(f"{selector} {text}: it never stands still under the mouse")

    def type(self, selector: str, text: str) -> None:
        """Click a field and type."""
        self.click(selector)
        self("Input.insertText", text=text)

    def picture(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))
        return path
