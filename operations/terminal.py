"""Ask a question at the terminal, even if standard input is something else."""

TERMINAL = "/dev/tty"


class Declined(Exception):
    """What was not done, and why, in one sentence."""


def ask(question: str) -> str:
    """Return the typed answer, which is empty after Ctrl-C.

    Raises OSError if there is no terminal.
    """
    with open(TERMINAL, "w") as prompt, open(TERMINAL) as keyboard:
        print(question, end="", file=prompt, flush=True)
        try:
            return keyboard.readline().strip()
        except KeyboardInterrupt:
            return ""


def confirm(question: str, *, otherwise: str) -> None:
    """Ask, and return if `yes` is typed.

    otherwise: what was not done if it is not, such as `Nothing was done`. Raises Declined.
    """
    try:
        answer = ask(f"{question} Type yes to continue: ")
    except OSError:
        raise Declined(
            f"{otherwise}: there is no terminal to ask at. YES=1 skips the question."
        ) from None
    if answer != "yes":
        raise Declined(f"{otherwise}.")
