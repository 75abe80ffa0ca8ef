from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flows.overrides import (
    SettingsError,
    apply_overrides,
    explain,
    parse_assignments,
    read_profile,
)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    beta: float = 0.1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stages: dict[str, Inner] = {}


def test_a_shorthand_leads_to_the_stage_and_leaves_the_rest_alone():
    values = {"stages": {"dpo": {"beta": 0.1, "seed": 3}}, "generate": {"seed": 1}}
    changed = apply_overrides(values, {"dpo.beta": 0.2}, {"dpo": "stages.dpo"})
    assert changed == {"stages": {"dpo": {"beta": 0.2, "seed": 3}}, "generate": {"seed": 1}}
    assert values["stages"]["dpo"]["beta"] == 0.1


def test_an_override_through_a_value_is_refused():
    with pytest.raises(SettingsError, match="'beta' is a value"):
        apply_overrides({"dpo": {"beta": 0.1}}, {"dpo.beta.x": 1}, {})


def test_assignments_are_read_as_yaml():
    overrides = parse_assignments(["a.b=0.2", "c=[1, 2]", "d=text", "e=true"])
    assert overrides == {"a.b": 0.2, "c": [1, 2], "d": "text", "e": True}


@pytest.mark.parametrize("assignment", ["dpo.beta", "=3", "a=[1"])
def test_a_malformed_assignment_shows_how_to_write_it(assignment):
    with pytest.raises(SettingsError, match="--set"):
        parse_assignments([assignment])


def test_a_misspelt_setting_is_named_with_the_nearest_allowed_one():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"stages": {"dpo": {"betta": 1}}})
    message = str(explain(caught.value, Outer, "profile 'x'"))
    assert "stages.dpo.betta: no such setting; did you mean 'beta'? allowed: beta" in message


class Whole(BaseModel):
    roles: dict[Literal["judge"], str] = {}
    secret: int = 0

    @model_validator(mode="after")
    def _agree(self) -> "Whole":
        if self.secret:
            raise ValueError("steps names ['prefs']; there are ['cases']")
        return self


def test_what_is_wrong_with_all_together_is_said_without_the_whole_profile():
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"secret": 4711})
    message = str(explain(caught.value, Whole, "profile 'x'"))
    assert message == "profile 'x':\n  steps names ['prefs']; there are ['cases']"


def test_a_key_that_is_not_allowed_is_named_as_it_was_written():
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"roles": {"juge": "x"}})
    message = str(explain(caught.value, Whole, "profile 'x'"))
    assert "roles.juge: Input should be 'judge' (got 'juge')" in message


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(SettingsError, match=r"no profile 'embeded'.*'embedded'"):
        read_profile("embeded")


def test_a_setting_that_stands_twice_in_a_profile_is_refused(tmp_path):
    path = tmp_path / "profile.yaml"
    path.write_text("stages:\n  dpo:\n    beta: 0.1\n    beta: 0.2\n")
    with pytest.raises(SettingsError, match=r"'beta' stands there twice(.|\n)*line 4"):
        read_profile(str(path))
