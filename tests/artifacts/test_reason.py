from artifacts.manifest import ArtifactRef
from artifacts.step import Built, ensure
from artifacts.store import Store
from tests.artifacts.steps import Library, Settings, make_step


def test_a_changed_setting_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    assert ensure(store, make_step()).reason == "new: first artifact of this step"
    outcome = ensure(store, make_step(Settings(beta=0.2)))
    assert outcome.reason == "rebuilt: dpo.beta 0.1 → 0.2"


def test_the_reason_compares_with_the_nearest_earlier_artifact(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step(Settings(beta=0.1, words="a")))
    ensure(store, make_step(Settings(beta=0.5, words="b")))
    assert ensure(store, make_step(Settings(beta=0.1, words="b"))).reason.count("→") == 1


def test_a_changed_input_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    old, new = (ArtifactRef(kind="k", key=d, digest=d, location="") for d in ("a", "b"))
    ensure(store, make_step(inputs={"dataset": old}))
    outcome = ensure(store, make_step(inputs={"dataset": new}))
    assert outcome.reason == "rebuilt: input dataset changed"


def test_an_input_that_comes_or_goes_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    cases = ArtifactRef(kind="k", key="a", digest="a", location="")
    ensure(store, make_step())
    assert ensure(store, make_step(inputs={"cases": cases})).reason == "rebuilt: input cases added"
    ensure(store, make_step(inputs={"cases": cases}, name="rm"))
    assert ensure(store, make_step(name="rm")).reason == "rebuilt: input cases gone"


def test_a_setting_that_is_gone_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    both, one = Library(cases={"a": "1", "b": "2"}), Library(cases={"a": "1"})
    ensure(store, make_step(both, build=lambda workspace: Built()))
    outcome = ensure(store, make_step(one, build=lambda workspace: Built()))
    assert outcome.reason == "rebuilt: dpo.cases.b 2 → (unset)"


def test_a_group_of_settings_that_is_left_out_is_named_by_what_it_held(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step(Library(extra=Settings()), build=lambda workspace: Built()))
    outcome = ensure(store, make_step(Library(), build=lambda workspace: Built()))
    assert "dpo.extra.beta 0.1 → (unset)" in outcome.reason
    assert "(unset) → (unset)" not in outcome.reason


def test_a_raised_version_rebuilds_and_says_so(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step())
    assert ensure(store, make_step(version=2)).reason == "rebuilt: dpo.step_version 1 → 2"
