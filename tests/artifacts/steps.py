"""A small step that the tests of this package share."""

from pydantic import BaseModel, Field

from artifacts.step import Built, Step, Workspace


class Settings(BaseModel):
    beta: float = 0.1
    words: str = "hello"
    workers: int = Field(2, json_schema_extra={"result_neutral": True})


class Library(BaseModel):
    cases: dict[str, str] = {}
    extra: Settings | None = None
    parts: tuple[Settings, ...] = ()
    named: dict[str, Settings] = {}


def write_words(settings: Settings):
    def build(workspace: Workspace) -> Built:
        (workspace.out / "words.txt").write_text(settings.words)
        return Built(counts={"words": 1})

    return build


def make_step(settings=None, inputs=None, build=None, name="dpo", version=1) -> Step:
    settings = settings or Settings()
    return Step(name, version, "checkpoint", settings, inputs or {}, build or write_words(settings))
