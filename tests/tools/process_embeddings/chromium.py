"""Headless Chromium driven over its debugging protocol: a process, a small websocket client, and the few calls tests
need."""

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60  # seconds until a browser that does not answer counts as broken


def find_chromium():
    """Return the browser's path (GENPROBE_CHROMIUM first), or None."""
    return os.environ.get("GENPROBE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class WebSocket:
    """The client side of RFC 6455, text messages only."""

    def __init__(self, address):
        place, _, path = address.removeprefix("ws://").partition("/")
        host, port = place.split(":")
        self._socket = socket.create_connection((host, int(port)), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: {place}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self._stream = self._socket.makefile("rb")
        assert b" 101 " in self._stream.readline()
        while self._stream.readline().strip():
            pass

    def send(self, text):
        """Send one masked text frame."""
        data, mask = text.encode(), os.urandom(4)
        length = len(data)
        head = bytes([0x81, 0x80 | length]) if length < 126 else struct.pack("!BBH", 0x81, 0xFE, length)
        head = head if length < 1 << 16 else struct.pack("!BBQ", 0x81, 0xFF, length)
        self._socket.sendall(head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(data)))

    def receive(self):
        """Return the next text message; pings are answered."""
        parts = []
        while True:
            first, second = self._stream.read(2)
            length = second & 127
            if length > 125:
                length = struct.unpack("!H" if length == 126 else "!Q", self._stream.read(2 if length == 126 else 8))[0]
            data = self._stream.read(length)
            kind = first & 15
            if kind == 9:
                self._socket.sendall(bytes([0x8A, 0x80]) + os.urandom(4))
            elif kind in (0, 1):
                parts.append(data)
                if first & 0x80:
                    return b"".join(parts).decode()
            else:
                raise ConnectionError(f"websocket frame of kind {kind}")

    def close(self):
        """Close the connection."""
        self._stream.close()
        self._socket.close()


class Page:
    """One page: `evaluate`, mouse, keys, and every console message, exception and request that it made."""

    def __init__(self, address):
        self._link, self._number = WebSocket(address), 0
        self.complaints, self.requests = [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Return the result of one protocol call; events that come meanwhile are noted."""
        self._number += 1
        self._link.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._link.receive())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([value.get("value", value.get("description")) for value in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def evaluate(self, expression):
        """Return the value of a JavaScript expression (a promise's when it is settled)."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression):
        """Return the first true value of an expression."""
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"never true: {expression}; {self.complaints}"
            time.sleep(0.02)
        return value

    def settle(self):
        """Wait until what is due has been drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def mouse(self, kind, x, y, **more):
        """Send one mouse event: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def move(self, x, y):
        """Move the mouse there."""
        self.mouse("mouseMoved", x, y)

    def click(self, x, y):
        """Press and release the left button there."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", buttons=1, clickCount=1)

    def drag(self, *places):
        """Drag from the first place over the others to the last."""
        self.mouse("mousePressed", *places[0], button="left", buttons=1, clickCount=1)
        for place in places[1:]:
            self.mouse("mouseMoved", *place, button="left", buttons=1)
        self.mouse("mouseReleased", *places[-1], button="left", buttons=1, clickCount=1)

    def click_on(self, selector):
        """Click the middle of the element."""
        box = self.evaluate(f"(() => {{ const e = document.querySelector({selector!r});"
                            "e.scrollIntoView({block: 'nearest'});"
                            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        self.click(*box)

    def press(self, key):
        """Press and release one key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path):
        """Write what the window shows as PNG."""
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        """Close the connection."""
        self._link.close()


@contextlib.contextmanager
def open_page(url, folder, width=1400, height=900, flags=()):
    """Yield a Page that shows `url`; profile and downloads lie in `folder`, and the browser ends with the block."""
    folder = Path(folder)
    command = [find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--no-first-run",
               "--disable-extensions", "--disable-background-networking", "--remote-debugging-port=0", "--mute-audio",
               f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", *flags, "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        page = Page(_page_address(browser, folder / "profile" / "DevToolsActivePort"))
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        (folder / "downloads").mkdir()
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "downloads"))
        page.call("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete'")
        yield page
        page.close()
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def _page_address(browser, port_file):
    """Return the websocket address of the browser's one page, when it is up."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert browser.poll() is None, f"the browser ended with status {browser.returncode}"
        if port_file.exists() and port_file.read_text().count("\n"):
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
    raise TimeoutError("the browser opened no page")
