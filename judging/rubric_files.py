"""Where rubrics are read: the shipped ones by name, a person's own by path."""

from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from endpoints.yaml_file import EachKeyOnce
from judging.errors import RubricError
from judging.rubric import Rubric

FOLDER = Path(__file__).with_name("rubrics")
SUFFIX = ".yaml"


def rubric_path(name: str) -> Path:
    """The file of a shipped rubric's name, or of a path to a YAML file.

    Raises RubricError where there is none.
    """
    path = Path(name) if name.endswith((SUFFIX, ".yml")) else FOLDER / f"{name}{SUFFIX}"
    if not path.is_file():
        shipped = sorted(file.stem for file in FOLDER.glob(f"*{SUFFIX}"))
        raise RubricError(
            f"there is no rubric {name!r} ({path} is no file). Shipped are: {', '.join(shipped)}; "
            "or give the path of a .yaml file."
        )
    return path


def read_rubric(name: str) -> Rubric:
    """A rubric by its shipped name or its path.

    Raises RubricError naming the file and each field at fault.
    """
    return _read(rubric_path(name))


@cache
def _read(path: Path) -> Rubric:
    try:
        return Rubric.model_validate(yaml.load(path.read_text(encoding="utf-8"), EachKeyOnce))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RubricError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        lines = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the rubric'}: {e['msg']}" for e in faults
        )
        raise RubricError(
            f"{path}: {lines}. Correct it; {FOLDER / 'single_answer.yaml'} is an example."
        ) from None
