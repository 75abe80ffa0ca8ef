import pytest

from engines.chat import encode_prompt
from engines.errors import ChatError
from engines.generation import Sampling, reply

TALKS = [
    [{"role": "user", "content": "My head hurts and I feel sick."}],
    [{"role": "user", "content": "咳嗽"}],
]


def greedy_by_hand(model, tokenizer, talk, count):
    import torch

    ids = list(encode_prompt(tokenizer, talk))
    start = len(ids)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def test_a_batch_of_greedy_replies_is_what_each_talk_gets_alone(model, tokenizer):
    replies = reply(model, tokenizer, TALKS, Sampling(max_new_tokens=8))
    assert replies == [greedy_by_hand(model, tokenizer, talk, 8) for talk in TALKS]


def test_sampled_replies_follow_their_seed_and_leave_the_random_state_alone(model, tokenizer):
    import torch

    before = torch.random.get_rng_state()
    drawn = [
        reply(model, tokenizer, TALKS, Sampling(max_new_tokens=12, temperature=1.0, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_reply_stops_where_the_template_ends_a_turn(folder, model, monkeypatch):
    from engines.loading import load_tokenizer

    other = load_tokenizer(folder)
    end = other.convert_tokens_to_ids("<|im_end|>")
    other.eos_token = "<|endoftext|>"
    passes, forward = [], model.forward

    def ends_at_once(*args, **kwargs):
        passes.append(1)
        output = forward(*args, **kwargs)
        output.logits[..., end] += 1000
        return output

    monkeypatch.setattr(model, "forward", ends_at_once)
    assert reply(model, other, TALKS, Sampling(max_new_tokens=8)) == ["", ""]
    assert len(passes) == 1


def test_there_is_no_reply_to_the_assistant(model, tokenizer):
    with pytest.raises(ChatError, match="nothing to reply to"):
        reply(model, tokenizer, [[*TALKS[0], {"role": "assistant", "content": "Ok."}]])


def test_no_talks_give_no_replies(model, tokenizer):
    assert reply(model, tokenizer, []) == []
