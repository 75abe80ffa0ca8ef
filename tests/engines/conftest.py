import warnings
from pathlib import Path

import pytest

from engines.loading import load_model, load_tokenizer
from tests.tiny_model import tiny_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def model(folder):
    return load_model(folder)


@pytest.fixture(scope="session")
def tokenizer(folder):
    return load_tokenizer(folder)


@pytest.fixture(autouse=True)
def _peft_asks_transformers_by_an_old_name():
    message = ".*is_gradient_checkpointing. is deprecated"  # peft 0.21, transformers 5.23
    warnings.filterwarnings("ignore", message=message, category=FutureWarning)
