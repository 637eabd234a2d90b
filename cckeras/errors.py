"""The errors that a command turns into an exit code and one line of text."""


class InputError(Exception):
    """Bad input or usage: the command ends with exit code 2.

    The message is one line that names the thing, says what was expected and
    what to do.
    """


class CheckError(Exception):
    """A check failed (something changed that must not): exit code 1."""


def reason(error: Exception) -> str:
    """Return an exception of a library as part of one line: type and text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def nearest(name: str, known) -> str:
    """Return `" Did you mean 'x'?"` for the closest known name, or nothing."""
    import difflib

    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def choose(kind: str, name, known):
    """Return `name` if it is known, else raise an `InputError` that helps."""
    known = list(known)
    if name not in known:
        raise InputError(
            f"Expected {kind} to be one of {', '.join(map(str, known))}. "
            f"Received: {name!r}.{nearest(name, known)}"
        )
    return name
