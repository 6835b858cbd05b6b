"""Accept or reject a login for MariaDB's PAM plugin, which runs this program.

The plugin talks to the program on stdin and stdout. It passes the user's authentication string,
which is the path of the file with the emulator's port. The emulator makes the decision.
"""

import http.client
import os
import sys

PATH = "/_database_login"
SECONDS = 3
PASSWORD_PROMPT = b"\x04Password:"


def main() -> None:
    if os.fork():
        # The plugin reaps a child that has ended, and does not wait for one that has not.
        os._exit(0)
    # Close the file descriptors that were inherited from the server. Among them are the ends of
    # other logins' pipes. With them open, two helpers could keep each other from reading the end of
    # their input when the server is killed.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _read(1)  # flags
    user, port_file = _read_text(), _read_text()
    _write(b"C" + len(PASSWORD_PROMPT).to_bytes(2) + PASSWORD_PROMPT)
    token = _read_text().removesuffix(b"\0")
    with open(port_file) as file:
        connection = http.client.HTTPConnection("127.0.0.1", int(file.read()), timeout=SECONDS)
    connection.request("POST", PATH, body=token, headers={"Database-User": user})
    if connection.getresponse().status == http.HTTPStatus.NO_CONTENT:
        _write(b"E")  # Without it, the plugin rejects the login.


def _read(length: int) -> bytes:
    """Read `length` bytes. End this process if the server has ended or has given up the login."""
    data = sys.stdin.buffer.read(length)
    if len(data) < length:
        os._exit(1)
    return data


def _read_text() -> bytes:
    return _read(int.from_bytes(_read(2)))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
