from flows.generate_data import dataset_settings
from flows.parameters import Changes
from flows.settings import BuildSettings


def test_a_data_set_takes_the_side_that_is_generated():
    patients = BuildSettings.model_validate({"generate": {"side": "patient"}})
    assert dataset_settings(patients, Changes()).checks.sides == ("patient",)
    for side in ("doctor", "both"):
        settings = BuildSettings.model_validate({"generate": {"side": side}})
        assert dataset_settings(settings, Changes()) == settings.dataset


def test_a_data_set_of_files_alone_takes_every_side():
    patients = BuildSettings.model_validate({"generate": {"side": "patient"}})
    assert dataset_settings(patients, Changes(generate=False)) == patients.dataset
