"""Prompt files: Jinja2 below front matter (YAML between two lines `---`) that holds `version`."""

from pathlib import Path

import yaml

MARK = "---\n"


def read_prompt_file(path: Path) -> tuple[int, str]:
    """The version of a prompt file, and its text below the front matter.

    Raises ValueError naming the file and what it lacks, or those that are beside it.
    """
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.j2"))
        raise ValueError(f"there is no prompt {path}; in its folder are: {there}")
    content = path.read_text(encoding="utf-8")
    _, mark, rest = content.partition(MARK)
    front, end, body = rest.partition(MARK)
    if not (content.startswith(MARK) and mark and end):
        raise ValueError(f"{path}: it must begin with YAML between two lines `---`")
    matter = yaml.safe_load(front)
    if not isinstance(matter, dict) or not isinstance(matter.get("version"), int):
        raise ValueError(f"{path}: the front matter must hold `version: <whole number>`")
    return matter["version"], body
