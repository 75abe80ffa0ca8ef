import pytest

from tests.training.conftest import FAST, run_stage
from training.checkpoint import read_report
from training.dpo import DPO
from training.errors import WrongInput
from training.settings import LoraSettings
from training.sft import SFT

# peft 0.21 asks transformers 5.23 by a name that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize("name", ["v_porj", "lm_head", "embed_tokens", "input_layernorm"])
def test_a_lora_target_that_cannot_be_trained_is_refused(student, dataset, tmp_path, name):
    settings = SFT(lora=LoraSettings(target_modules=("q_proj", name)), **FAST)
    with pytest.raises(WrongInput, match=f"{name}.*It has:.*'q_proj'"):
        run_stage(settings, tmp_path, student, dataset)


def test_lora_targets_may_be_parts_of_paths(student, dataset, tmp_path):
    targets = ("layers.0.self_attn.q_proj", "mlp.up_proj")
    settings = SFT(max_steps=1, lora=LoraSettings(r=4, target_modules=targets), **FAST)
    _, out = run_stage(settings, tmp_path, student, dataset)
    # (32 + 32) * 4 of one layer's q_proj, (32 + 64) * 4 of two layers' up_proj
    assert read_report(out).trained_parameters == 256 + 2 * 384


def test_changing_one_lora_setting_changes_no_other():
    changed = SFT.model_validate({"lora": {"r": 4}})
    assert changed.lora == SFT().lora.model_copy(update={"r": 4})
    assert SFT.model_validate(changed.model_dump()) == changed
    assert SFT.model_validate({"lora": {"dropout": 0.0}}).lora.dropout == 0.0
    assert DPO.model_validate({"lora": {"r": 4}}).lora.dropout == 0.0
