"""The kinds of generators: their settings as one union, and a table of what they do."""

from collections.abc import Mapping

from datagen.generators import passage
from datagen.generators.generator import Generator
from datagen.generators.passage import PassageSettings

AnyGenerator = PassageSettings
GENERATORS: Mapping[str, Generator] = {passage.KIND: passage.GENERATOR}


def generator_of(settings: AnyGenerator) -> Generator:
    """The functions of the settings' kind."""
    return GENERATORS[settings.kind]
