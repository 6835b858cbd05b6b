"""Ask a question at the terminal, even if standard input is something else."""

TERMINAL = "/dev/tty"


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
