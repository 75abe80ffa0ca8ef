import pytest

from engines.chat import Tokens, encode_talk
from engines.errors import EngineError
from engines.loglikelihood import Choices, Score, mean_loss, score_choices, talk_scores

PROMPT = (5, 9, 30, 41, 7)
COMPLETIONS = ((11, 12, 13), (14,), (11, 80, 81, 82, 2))


def by_hand(model, prompt, completion) -> float:
    """Sum of log softmax, one whole forward pass, no cache."""
    import torch

    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logprobs = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
    start = len(prompt) - 1
    return sum(float(logprobs[start + i, token]) for i, token in enumerate(completion))


def test_sharing_the_prompts_keys_and_values_changes_no_score(model):
    (scores,) = score_choices(model, [Choices(PROMPT, COMPLETIONS)])
    for score, completion in zip(scores, COMPLETIONS, strict=True):
        assert score.logprob == pytest.approx(by_hand(model, PROMPT, completion), abs=1e-4)
        assert score.tokens == len(completion)


def test_a_completion_scores_the_same_alone_and_among_others(model):
    (alone,) = score_choices(model, [Choices(PROMPT, COMPLETIONS[:1])])
    (among,) = score_choices(model, [Choices(PROMPT, COMPLETIONS)])
    assert alone[0].logprob == pytest.approx(among[0].logprob, abs=1e-5)


def test_the_prompt_runs_once_and_completions_of_one_token_cost_nothing_more(model):
    passes = []
    handle = model.register_forward_hook(
        lambda *_: passes.append(1),
    )
    try:
        list(score_choices(model, [Choices(PROMPT, ((3,), (4,), (5,)))]))
        assert len(passes) == 1
        list(score_choices(model, [Choices(PROMPT, COMPLETIONS)]))
        assert len(passes) == 3
    finally:
        handle.remove()


def test_probabilities_of_all_next_tokens_add_up_to_one(model):
    import math

    every = tuple((token,) for token in range(model.config.vocab_size))
    (scores,) = score_choices(model, [Choices(PROMPT, every)])
    assert sum(math.exp(s.logprob) for s in scores) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("item", [Choices((), ((1,),)), Choices((1,), ()), Choices((1,), ((),))])
def test_nothing_to_score_is_refused(model, item):
    with pytest.raises(EngineError, match="a token or more"):
        list(score_choices(model, [item]))


def talks(tokenizer) -> list[Tokens]:
    return [
        encode_talk(
            tokenizer,
            [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
                {"role": "user", "content": "and then?"},
                {"role": "assistant", "content": "Rest."},
            ],
        )
        for question, answer in [
            ("It hurts.", "Where?"),
            ("头疼了很久", "多久了？"),
            ("Hi", "Yes?"),
        ]
    ]


def test_the_loss_of_a_talk_is_torchs_cross_entropy_over_its_spoken_tokens(model, tokenizer):
    import torch

    for talk, score in zip(talks(tokenizer), talk_scores(model, talks(tokenizer)), strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([talk.ids])).logits[0]
        expected = torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor(talk.labels[1:]), reduction="sum", ignore_index=-100
        )
        assert -score.logprob == pytest.approx(float(expected), rel=1e-5)
        assert score.tokens == sum(talk.spoken)


def test_talks_score_the_same_in_a_batch_and_in_any_order(model, tokenizer):
    one_by_one = talk_scores(model, talks(tokenizer))
    together = talk_scores(model, talks(tokenizer)[::-1], batch_size=3)[::-1]
    assert [s.tokens for s in together] == [s.tokens for s in one_by_one]
    assert [s.logprob for s in together] == pytest.approx([s.logprob for s in one_by_one], rel=1e-5)


def test_a_talk_without_the_assistant_has_no_tokens_to_score(model, tokenizer):
    silent = encode_talk(tokenizer, [{"role": "user", "content": "Hello?"}])
    assert talk_scores(model, [silent]) == [Score(0.0, 0)]
    with pytest.raises(EngineError, match="no token"):
        mean_loss([Score(0.0, 0)])


def test_the_mean_loss_weighs_tokens_not_talks():
    assert mean_loss([Score(-3.0, 1), Score(-1.0, 3)]) == 1.0
    assert Score(-1.5, 3).mean == -0.5
    with pytest.raises(EngineError, match="no token"):
        _ = Score(0.0, 0).mean
