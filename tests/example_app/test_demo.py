"""The two commands of the example app: what they print and start, the buttons, and that nothing is left behind."""

import argparse
import json
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from example_app import demo
from example_app.control import Channel, ControlError, command_server, send_command
from example_app.shoppers import Shopper, Visit
from tests.support.waiting import eventually

HOME = Path(__file__).parents[2]


class Command:
    """One of the two commands, running, and its output so far."""

    def __init__(self, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=HOME,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that a test can press Ctrl-C
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def printed(self) -> str:
        return "".join(self._lines)

    def shows(self, pattern: str, within: float = 30.0) -> str:
        """Wait for output that matches, and return the first group."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.printed)
            if found is None and self.process.poll() is not None:
                pytest.fail(f"it has ended without {pattern!r}:\n{self.printed}")
            return found

        found = eventually(look, within, f"{pattern!r} in what was printed")
        assert found
        return found[1] if found.groups() else found[0]

    def ends(self, within: float) -> int:
        """Wait for the end, and return the exit status."""
        status = self.process.wait(within)
        self._reader.join(5)
        return status

    def press_ctrl_c(self) -> None:
        """Interrupt the command and its children, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def family(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self._lines.extend(iter(output.readline, ""))


@contextmanager
def running(*arguments: str) -> Iterator[Command]:
    command = Command(*arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.terminate()
        command.ends(within=20)


class Visitor:
    """A browser: keeps cookies, sends the forms of pages, follows redirects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str = "/") -> str:
        return self._open(path, None)

    def post(self, path: str, **fields: str) -> str:
        token = re.search(r'name="form_token" value="([^"]+)"', self.get())
        assert token
        return self._open(path, fields | {"form_token": token[1]})

    def _open(self, path: str, fields: dict[str, str] | None) -> str:
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        with self._browser.open(self.url + path, data, timeout=15) as answer:
            page: str = answer.read().decode()
            return page


def refused(url: str, data: bytes | None = None, **headers: str) -> int:
    """Return the status that a request is refused with."""
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=15)
    refusal.value.close()
    return refusal.value.code


def cluster_of(page: str) -> str:
    return str(re.findall(r'data-cluster="(\w*)"', page)[0])


@pytest.fixture(scope="module")
def shop() -> Iterator[Command]:
    """The shop as `make run` starts it, for tests that leave both clusters running and fail back; Ctrl-C ends it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("example_app", "--port", str(port)) as command:
            command.shows(r"Ctrl-C stops everything")
            assert f":{port}/" not in command.printed  # it is taken
            yield command
            family = command.family()
            command.press_ctrl_c()
            assert command.ends(within=10) == 0
    _, left = psutil.wait_procs(family, timeout=5)
    assert left == [] and "Stopped" in command.printed and "Traceback" not in command.printed


@pytest.fixture
def visitor(shop: Command) -> Visitor:
    visitor = Visitor(shop.shows(r"The shop\s+(http://127.0.0.1:\d+)/"))
    status = urllib.request.Request(f"{visitor.url}/hazelcast/status")
    status.add_header("Authorization", f"Bearer {shop.shows(r'Admin token +(.*)')}")

    def all_were_used() -> bool:
        visitor.get()
        with urllib.request.urlopen(status, timeout=15) as answer:
            return len(json.load(answer)["fleet"]["workers"]) == 4

    eventually(all_were_used, 15.0, "each of the four workers to have taken a request")
    return visitor


def test_buttons_kill_and_restart_the_primary_and_fail_back(visitor: Visitor) -> None:
    visitor.post("/cart", product="sencha", by="2")
    page = visitor.post("/demo/kill/blue")
    assert "Cluster blue was killed." in page and cluster_of(page) == "green" and "Restart blue" in page
    assert "Your cart stayed on blue" in visitor.get("/cart")
    page = visitor.post("/demo/restart/blue")
    assert "Cluster blue is up again" in page and cluster_of(page) == "green" and "Kill blue" in page
    assert eventually(lambda: "Go back to blue" in visitor.get())
    assert "The shop is back on blue." in visitor.post("/demo/home")
    assert {cluster_of(visitor.get()) for _ in range(20)} == {"blue"}


def test_a_kill_without_the_token_of_a_page_is_refused(visitor: Visitor) -> None:
    assert refused(f"{visitor.url}/demo/kill/blue", b"") == 400
    assert refused(f"{visitor.url}/demo/kill/blue", b"form_token=guessed") == 400
    assert refused(f"{visitor.url}/demo/kill/blue") == 405
    assert "Kill blue" in visitor.get()


def test_the_printed_curl_commands_work(shop: Command, visitor: Visitor) -> None:
    for what in ("Status", "Health", "Metrics", "Back to blue", "To green"):
        line = shop.shows(rf"{what}\s+(curl (?:.*\\\n)?.*)")
        with urllib.request.urlopen(as_curl_reads(line), timeout=15) as answer:
            assert answer.status == 200, line
    visitor.post("/demo/home")
    assert refused(f"{visitor.url}/hazelcast/status") == 401


def test_the_printed_shell_commands_work(shop: Command, visitor: Visitor) -> None:
    """They show and move the shop with nothing but a shell."""
    lines = shop.shows(r"From a shell\s+(export .*\n.*)")
    assert re.search(r"blue.*active", in_a_shell(lines))
    in_a_shell(lines.replace("hazelcast status", "hazelcast switch green"))
    eventually(lambda: {cluster_of(visitor.get()) for _ in range(20)} == {"green"})
    visitor.post("/demo/home")


def in_a_shell(lines: str) -> str:
    """Return the output of lines that a shell runs."""
    done = subprocess.run(
        ["/bin/sh", "-c", lines], cwd=HOME, check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_curl_reads(line: str) -> urllib.request.Request:
    """Return the request that a line of curl makes: not every machine has curl."""
    reader = argparse.ArgumentParser(exit_on_error=False)
    reader.add_argument("curl", choices=["curl"])
    reader.add_argument("-X", dest="method")
    reader.add_argument("-H", dest="headers", action="append", default=[])
    reader.add_argument("-d", dest="data", type=str.encode)
    reader.add_argument("url")
    given = reader.parse_args(shlex.split(line.replace("\\\n", " ")))
    headers = dict(header.split(": ", 1) for header in given.headers)
    return urllib.request.Request(given.url, given.data, headers, method=given.method)


def test_four_processes_serve_the_shop(shop: Command, visitor: Visitor) -> None:
    gunicorn = [process for process in shop.family() if "gunicorn" in " ".join(process.cmdline())]
    assert len(gunicorn) == 5  # and their parent


def test_the_admin_token_is_not_logged(shop: Command, visitor: Visitor) -> None:
    visitor.get()
    log = shop.printed.partition("Ctrl-C stops everything")[2]
    assert "connected to blue" in log and shop.shows(r"Admin token\s+(\S+)") not in log


def test_no_process_outlives_a_killed_shop() -> None:
    with running("example_app", "--no-demo", "--port", "0") as command:
        visitor = Visitor(command.shows(r"The shop\s+(http://127.0.0.1:\d+)/"))
        assert "Kill" not in visitor.get()
        family = command.family()
        command.process.kill()
        _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
    assert len(family) >= 8  # two members, gunicorn with four workers, the guard


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_interrupt_the_clean_up(
    number: signal.Signals,
) -> None:
    script = f"""
import os, time
from example_app.stop_signals import Stopped, stop_on_signals
stop_on_signals()
try:
    os.kill(os.getpid(), {int(number)})
    time.sleep(5)
except Stopped:
    os.kill(os.getpid(), {int(number)})
    print("cleaned up")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, check=True, capture_output=True, text=True
    )
    assert ended.stdout == "cleaned up\n"


@pytest.mark.timeout(120)
def test_the_demo_prints_a_kill_without_a_failed_request() -> None:
    with running("example_app.demo") as command:
        command.shows("requests/s")
        family = command.family()
        assert command.ends(within=80) == 0, command.printed
    _, left = psutil.wait_procs(family, timeout=5)
    assert left == []
    served = re.findall(r"blue|green|kill -9|restarts|reset", command.printed.partition("served by")[2])
    order = [what for place, what in enumerate(served) if place == 0 or what != served[place - 1]]
    steps = [what for what in order if what not in ("blue", "green")]
    assert steps == ["kill -9", "restarts", "reset"]
    assert re.search(r"requests \d{2,}  failed 0  slowest \d+ ms\n", command.printed)
    assert order[0] == "blue" and order[-1] == "blue" and "green" in order


def test_the_demo_fails_if_one_request_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    visits = [Visit(1.0, 0.1, "blue"), Visit(2.0, 0.4, None, failure="/cart: HTTP Error 500")]
    monkeypatch.setattr(demo, "open_shop", lambda *_: nullcontext())
    monkeypatch.setattr(demo, "stop_on_signals", lambda: None)
    monkeypatch.setattr(demo, "_run", lambda _: visits)
    assert demo.main() == 1
    assert "requests 2  failed 1  slowest 400 ms" in (printed := capsys.readouterr().out)
    assert "/cart: HTTP Error 500" in printed


def test_a_shopper_counts_a_refused_connection_as_a_failure() -> None:
    visits: queue.Queue[Visit] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    shopper = Shopper(url, visits.put)
    shopper.start()
    visit = visits.get(timeout=5)
    shopper.stop()
    assert visit.failure and "/" in visit.failure and not shopper.is_alive()


def test_commands_need_the_secret() -> None:
    def explode() -> str:
        raise ValueError("no Java")

    with command_server({"running": lambda: "blue green", "kill blue": explode}) as channel:
        assert send_command(channel, "running") == "blue green"
        with pytest.raises(ControlError, match="no Java"):
            send_command(channel, "kill blue")
        with pytest.raises(ControlError, match="no such command: 'kill red'"):
            send_command(channel, "kill red")
        with pytest.raises(ControlError, match="secret"):
            send_command(Channel(channel.port, "guessed"), "running")
        assert channel.secret not in repr(channel)
    with pytest.raises(ControlError, match="does not answer"):
        send_command(channel, "running")
