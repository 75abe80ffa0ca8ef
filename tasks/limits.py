"""Tags by which a server limits how many tasks of a kind run at once."""

import os

PRIVATE_SERVER = "MEDFACTORY_PRIVATE_SERVER"


def limit_tags(*names: str) -> list[str]:
    """The tags of a task, to be given where it is declared; none in a run with its own server.

    Nobody can have set limits there, and asking for them locks its SQLite: of two tasks that ask
    at once, one is sent away and waits two seconds before it asks again.
    """
    return [] if os.environ.get(PRIVATE_SERVER) else list(names)
