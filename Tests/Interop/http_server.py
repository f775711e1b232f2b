"""`interop-http-server`: a service with everything that handlers can do."""

import brokers
from programs import Program


class Server:
    """A running one. It must survive the tests."""

    def __init__(self, address, *words):
        self.program = Program(brokers.binary().rsplit("/", 1)[0] + "/interop-http-server", address, *words)
        self.place = self.program.prints(r"listening (\S+)\n").group(1).decode()
        self.url = f"{address.split('://')[0]}://{self.place}"
        self.port = int(self.place.rsplit(":", 1)[1]) if ":" in self.place else None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        running = self.program.process.poll() is None
        errors = self.program.errors.decode()[-2000:]
        self.program.__exit__()
        assert running, f"the server ended under the tests:\n{errors}"
