import pytest

from datagen.errors import PromptError
from datagen.prompting import PROMPTS, prompt_digests, read_prompt, render

FILES = sorted(PROMPTS.glob("*/*/*.j2"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PROMPTS)))
def test_every_prompt_file_has_a_version_and_a_text(path):
    language, style, _ = path.relative_to(PROMPTS).parts
    prompt = read_prompt(language, style, path.stem)
    assert prompt.version >= 1
    assert not prompt.text.startswith("---")


def test_both_languages_have_the_same_prompts():
    names = {
        language: {p.relative_to(PROMPTS / language) for p in FILES if language in p.parts}
        for language in ("en", "zh")
    }
    assert names["en"] == names["zh"]


def test_a_missing_value_is_an_error_that_names_the_prompt():
    with pytest.raises(PromptError, match="en/chat/doctor.*closing"):
        render(read_prompt("en", "chat", "doctor"), agenda=(), note="", manner="")


def test_a_prompt_that_does_not_exist_is_an_error_that_lists_those_that_do():
    with pytest.raises(PromptError, match="patient"):
        read_prompt("en", "chat", "nurse")


@pytest.mark.parametrize(
    "content", ["no front matter", "---\nname: x\n---\nHello", "---\nversion: 1"]
)
def test_front_matter_without_a_version_is_an_error(tmp_path, content):
    folder = tmp_path / "en" / "chat"
    folder.mkdir(parents=True)
    (folder / "doctor.j2").write_text(content)
    with pytest.raises(PromptError, match="must"):
        read_prompt("en", "chat", "doctor", tmp_path)


def test_the_digests_name_every_prompt_of_the_style():
    digests = prompt_digests("chat", ("zh", "en"))
    assert list(digests) == sorted(digests)
    assert {"en/chat/doctor", "zh/chat/error"} <= set(digests)
    assert not [name for name in digests if "transcript" in name]
