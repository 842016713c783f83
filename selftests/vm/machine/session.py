# SPDX-License-Identifier: GPL-2.0-only
"""One machine's life: relay its streams, wait for its verdict, end it."""

import os
import selectors
import socket
import subprocess
import time

# From power-on to COMMAND, however busy the host is.
BOOT_LIMIT = 300
# From COMMAND's end until the verdict: bringing back /out, looking for leaks.
CLOSING_LIMIT = 600
# From the verdict until everything that was written before it has arrived.
DRAIN_LIMIT = 20
# For the stack dumps that are asked for before a machine is given up.
STACKS_TIME = 3


class Stream:
    """Copies a port to a file descriptor until the token that ends it."""

    def __init__(self, connection, sink, token):
        self.connection = connection
        self.sink = sink
        self.token = token
        self.held = b""
        self.complete = False

    def receive(self):
        """Takes what has arrived; False at the end of the connection."""
        data = self.connection.recv(1 << 16)
        if self.complete:
            return bool(data)
        self.held += data
        end = self.held.find(self.token)
        if end >= 0:
            self.complete = True
            self.write(self.held[:end])
            self.held = b""
        else:
            keep = self.possible_token()
            self.write(self.held[:len(self.held) - keep])
            self.held = self.held[len(self.held) - keep:]
        if not data:
            self.write(self.held)
        return bool(data)

    def possible_token(self):
        """How many bytes at the end may be the beginning of the token."""
        for length in range(min(len(self.token) - 1, len(self.held)), 0, -1):
            if self.held.endswith(self.token[:length]):
                return length
        return 0

    def write(self, data):
        """Writes all of data."""
        while data:
            data = data[os.write(self.sink, data):]


class Verdict:
    """What the guest says about COMMAND."""

    def __init__(self, connection):
        self.connection = connection
        self.text = b""
        self.started = None
        self.ended = None
        self.status = None
        self.failure = None

    def receive(self):
        """Takes what has arrived; False at the end of the connection."""
        data = self.connection.recv(4096)
        self.text += data
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "started":
                self.started = time.monotonic()
            elif word == "ended":
                self.ended = time.monotonic()
            elif word == "exited":
                self.status = int(rest)
            elif word == "failed":
                self.failure = rest
        return bool(data)

    def given(self):
        """The guest has said its last."""
        return self.status is not None or self.failure is not None


class Lines:
    """Lines of standard input on their way to COMMAND."""

    def __init__(self, source, guest):
        self.connection, self.guest = source, guest
        self.held = b""
        # When the last one came.
        self.came = 0

    def receive(self):
        """Takes what has arrived; False at the end of it, or of the guest."""
        data = os.read(self.connection, 4096)
        *lines, self.held = (self.held + data).split(b"\n")
        for line in lines:
            try:
                self.guest.sendall(b"line " + line + b"\n")
            except OSError:
                return False
            self.came = time.monotonic()
        return bool(data)


class Session:
    """A running machine. After run():

    status, failure	COMMAND's, or why there is none
    started, timed_out, killed
    complete		both streams and the log arrived up to their ends
    """

    def __init__(self, options, token, console, kind):
        self.options = options
        # The module that knows what runs the machine.
        self.kind = kind
        self.token = token.encode()
        self.console = console
        self.theirs = {}
        ours = {}
        for name in ("stdout", "stderr", "verdict"):
            ours[name], self.theirs[name] = socket.socketpair()
        self.streams = [Stream(ours["stdout"], 1, self.token),
                        Stream(ours["stderr"], 2, self.token)]
        self.verdict = Verdict(ours["verdict"])
        self.lines = options.lines is not None and Lines(options.lines, ours["verdict"])
        self.timed_out = self.killed = self.complete = False
        self.log_size_at_timeout = None
        self.machine = None

    def ports(self):
        """Descriptors for the machine's ends of the ports, by name."""
        return {name: end.fileno() for name, end in self.theirs.items()}

    def run(self, kernel, plan, messages):
        """Runs the machine to its end; it must not outlive its runner."""
        command = self.kind.command_line(kernel, plan)
        self.machine = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command],
                                        cwd=plan.directory, env=self.kind.environment(plan),
                                        stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
                                        pass_fds=list(self.ports().values()))
        try:
            for end in self.theirs.values():
                end.close()
            self.follow()
        finally:
            self.stop()

    def follow(self):
        """Relays until the verdict and all before it arrived, or time is up."""
        powered_on = time.monotonic()
        given = None
        with selectors.DefaultSelector() as selector:
            for source in (*self.streams, self.verdict):
                selector.register(source.connection, selectors.EVENT_READ, source)
            if self.lines:
                selector.register(self.lines.connection, selectors.EVENT_READ, self.lines)
            while any(key.data is not self.lines for key in selector.get_map().values()):
                now = time.monotonic()
                if self.verdict.given():
                    given = given or now
                    if self.drained() or now > given + DRAIN_LIMIT:
                        break
                    limit = now + 0.01
                elif self.verdict.started is None:
                    limit = powered_on + BOOT_LIMIT
                    if now >= limit:
                        break
                elif self.verdict.ended is not None:
                    limit = self.verdict.ended + CLOSING_LIMIT
                    if now >= limit:
                        break
                else:
                    begun = max(self.verdict.started, self.lines.came if self.lines else 0)
                    limit = begun + self.time_for_command()
                    if now >= limit:
                        self.give_up()
                        break
                for key, _ in selector.select(limit - now):
                    if not key.data.receive():
                        selector.unregister(key.fileobj)
        self.complete = self.verdict.given() and self.drained()

    def kill_comes_first(self):
        """--kill-after was given, and is due before the timeout."""
        return self.options.kill_after and self.options.kill_after < self.options.timeout

    def time_for_command(self):
        """Seconds from COMMAND's start until the machine is given up."""
        return self.options.kill_after if self.kill_comes_first() else self.options.timeout

    def drained(self):
        """Both streams and the log have reached their ends."""
        return all(stream.complete for stream in self.streams) and self.token in self.log_tail()

    def log_tail(self):
        """The last part of the log."""
        with open(self.console, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 65536))
            return log.read()

    def give_up(self):
        """COMMAND's time is up: power off as asked, or a hang to be looked at."""
        if self.kill_comes_first():
            self.machine.kill()
            self.killed = True
            return
        self.timed_out = True
        self.log_size_at_timeout = os.path.getsize(self.console)
        try:
            self.verdict.connection.send(b"stacks\n")
            self.machine.wait(STACKS_TIME)
        except (OSError, subprocess.TimeoutExpired):
            pass

    def stop(self):
        """Ends the machine."""
        self.machine.send_signal(self.kind.END_SIGNAL)
        try:
            self.machine.wait(30)
        except subprocess.TimeoutExpired:
            self.machine.kill()
            self.machine.wait()
