"""The command line of the factory, the settings of a project, and the private Prefect server.

May import everything; does no work of its own.
Begin at `cli.py`.
"""
