"""What MariaDB's PAM plugin runs to decide on a login: its protocol on stdin and stdout, the emulator's answer.

The plugin hands over the user's authentication string: the path of the file with the emulator's port.
"""

import http.client
import os
import sys

PATH = "/_database_login"
SECONDS = 3
PASSWORD_PROMPT = b"\x04Password:"


def main() -> None:
    if os.fork():
        os._exit(0)  # The plugin collects a child that has ended, and waits for none.
    # The server's, with the ends of other logins' pipes among them: were they open here, two logins could keep each
    # other from reading the end of their input when the server is killed.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _read(1)  # flags
    user, port_file = _read_text(), _read_text()
    _write(b"C" + len(PASSWORD_PROMPT).to_bytes(2) + PASSWORD_PROMPT)
    token = _read_text().removesuffix(b"\0")
    with open(port_file) as file:
        connection = http.client.HTTPConnection("127.0.0.1", int(file.read()), timeout=SECONDS)
    connection.request("POST", PATH, body=token, headers={"Database-User": user})
    if connection.getresponse().status == http.HTTPStatus.NO_CONTENT:
        _write(b"E")  # anything else is a refusal


def _read(length: int) -> bytes:
    """Read so many bytes. The server's end, or its giving up the login, ends this process."""
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
