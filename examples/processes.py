"""Starts what an example needs (a scripted teacher, a service on a private database) and stops it again, always."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from client import ApiError, Client

START_SECONDS = 120
STOP_SECONDS = 60


class StartFailed(Exception):
    """A process did not come up."""


class Processes:
    """Use it in a `with`: at its end every process is gone, and the folder unless something went wrong."""

    def __init__(self, binary):
        self.binary = os.path.abspath(binary)
        self.started = []

    def __enter__(self):
        if not os.access(self.binary, os.X_OK):
            sys.exit(f"there is no program at {self.binary}: build it with `make build`")
        self.folder = tempfile.mkdtemp(prefix="stepwise-")
        # As root the database runs as another user, who must get through here.
        os.chmod(self.folder, 0o755)
        # Ctrl-C and a `kill` of this script both end in __exit__.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, kind, error, trace):
        for name, process, log in reversed(self.started):
            stop(process)
        failed = kind is not None and not (kind is SystemExit and error.code in (0, None))
        if failed:
            for name, _, log in self.started:
                print(f"\nthe last lines of {name} ({log}):\n{tail(log)}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *arguments, env=None):
        """Starts `stepwise ARGUMENTS` with its output in a log."""
        log = os.path.join(self.folder, f"{name}.log")
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [self.binary, *arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        self.started.append((name, process, log))
        return process

    def scripted_teacher(self, answers, *arguments):
        """The base URL of a teacher that replays `answers`."""
        address = f"127.0.0.1:{free_port()}"
        process = self.start("scripted-teacher", "scripted-teacher", "--answers", answers, "--listen", address, *arguments)
        wait_for(process, f"http://{address}", "/v1/models", "the scripted teacher")
        return f"http://{address}/v1"

    def end(self, name):
        """Stops what was started under this name."""
        for started in [started for started in self.started if started[0] == name]:
            stop(started[1])
            self.started.remove(started)

    def service(self, teacher, models_dir=None, arguments=()):
        """A client of a new service that knows this one teacher: a table of its settings. Where one was ended before, it goes
        on with the same data."""
        config = os.path.join(self.folder, "stepwise.toml")
        with open(config, "w", encoding="utf-8") as file:
            # A JSON string of plain ASCII, and a JSON number, are TOML too.
            file.write("[[teachers]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in teacher.items()))
        models_dir = models_dir or os.path.join(self.folder, "models")
        os.makedirs(models_dir, exist_ok=True)
        address = f"127.0.0.1:{free_port()}"
        process = self.start(
            "service", "up", "--config", config, "--listen", address,
            "--data-dir", os.path.join(self.folder, "data"), "--models-dir", models_dir, *arguments,
        )
        return wait_for(process, f"http://{address}", "/readyz", "the service")


def wait_for(process, url, path, what):
    """A client, as soon as `path` is answered with 200."""
    client, until = Client(url), time.monotonic() + START_SECONDS
    while process.poll() is None:
        try:
            client.request("GET", path, timeout=10)
            return client
        except (ApiError, OSError, ValueError) as error:
            if time.monotonic() > until:
                raise StartFailed(f"{what} was not ready within {START_SECONDS} s: {error}") from None
            time.sleep(0.1)
    raise StartFailed(f"{what} ended with status {process.returncode} before it was ready")


def stop(process):
    """Asks it to end, and makes it when it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(path, lines=25):
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-lines:])
