"""TLS for programs that read and write a connection in two threads, which Python's SSL objects do not bear: `websockets`' synchronous client hangs now and then
in its handshake, with its own server, too."""

import select
import socket
import ssl
import threading


def connect_by_tls(host, port, context):
    """A plain socket whose bytes go to a TLS server and come from it."""
    near, far = socket.socketpair()
    server = context.wrap_socket(socket.create_connection((host, port), timeout=20), server_hostname=host)
    threading.Thread(target=_relay, args=(far, server), daemon=True).start()
    return near


def _relay(far, server):
    with far, server:
        try:
            while True:
                ready = [server] if server.pending() else select.select([far, server], [], [])[0]
                if far in ready:
                    if not (taken := far.recv(65536)):
                        return
                    server.sendall(taken)
                if server in ready:
                    taken = _receive(server)
                    if taken == b"":
                        # The client may still be answering a Close.
                        far.shutdown(socket.SHUT_WR)
                        while far.recv(65536):
                            pass
                        return
                    far.sendall(taken or b"")
        except OSError:
            pass


def _receive(server):
    """None: what came was not the application's, a session ticket say."""
    server.setblocking(False)
    try:
        return server.recv(65536)
    except ssl.SSLWantReadError:
        return None
    finally:
        server.settimeout(20)
