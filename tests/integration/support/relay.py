"""Something between two programs that forgets open connections, as a balancer or a NAT does."""

import select
import socket
import threading

from . import sockets


class Relay:
    """Passes bytes on to `target`. After forget(), what comes on older connections is lost."""

    def __init__(self, target):
        self.target = sockets.parse(target)
        self.age = 0
        self.accepted = 0
        self.closed = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self):
        self.age += 1

    def close(self):
        self.closed = True
        sockets.hang_up(self.listener)

    def _accept(self):
        while not self.closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._pass, args=(sock, self.age), daemon=True).start()

    def _pass(self, near, age):
        far = socket.create_connection(self.target)
        other = {near: far, far: near}
        try:
            while not self.closed:
                for sock in select.select([near, far], [], [], 0.1)[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if age == self.age:
                        other[sock].sendall(data)
        except OSError:
            pass
        finally:
            near.close()
            far.close()
