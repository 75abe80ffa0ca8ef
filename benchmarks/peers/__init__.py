"""The same talks by other tools, each a script that runs under its own environment.

May import nothing of the project. Each prints one JSON object last: seconds, talks.
"""
