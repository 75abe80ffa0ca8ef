import warnings

import pytest

from tests.evaluation import factory
from tests.tiny_model import tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model artifact: `model/` in a folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(folder / "model")
    return folder


@pytest.fixture
def inputs(model, tmp_path):
    return {"model": model, "dataset": factory.dataset(tmp_path / "dataset")}


@pytest.fixture(autouse=True)
def _peft_asks_transformers_by_an_old_name():
    message = ".*is_gradient_checkpointing. is deprecated"  # peft 0.21, transformers 5.23
    warnings.filterwarnings("ignore", message=message, category=FutureWarning)
