import pytest

from datagen.cases import Treatment
from datagen.dosage import find_wrong_doses

RANGE = {"unit": "mg", "route": "by mouth", "source": "test", "doses_a_day": 3}
EN = (
    Treatment(drug="Ibuprofen", dose=400, least_dose=200, most_dose=400, most_a_day=1200, **RANGE),
    Treatment(
        drug="Paracetamol", dose=1000, least_dose=500, most_dose=1000, most_a_day=4000, **RANGE
    ),
)
ZH = (
    Treatment(drug="布洛芬", dose=400, least_dose=200, most_dose=400, most_a_day=1200, **RANGE),
    Treatment(
        drug="对乙酰氨基酚", dose=500, least_dose=500, most_dose=1000, most_a_day=2000, **RANGE
    ),
)
WRONG = [
    (EN, "Take ibuprofen 800 mg after a meal."),
    (EN, "You can take 2 paracetamol now. Take paracetamol 2 g at once."),
    (EN, "Take ibuprofen 400 mg four times a day."),
    (EN, "Take ibuprofen, but no more than that: ibuprofen 2400 mg a day."),
    (EN, "Paracetamol 100 mg will do."),
    (EN, "Take ibuprofen 400 to 800 mg."),
    (EN, "Paracetamol 1000 mg is fine, and ibuprofen 600 mg with it."),
    (ZH, "吃布洛芬，每次800毫克。"),
    (ZH, "对乙酰氨基酚一次2克。"),
    (ZH, "布洛芬400毫克，每天四次。"),
    (ZH, "对乙酰氨基酚每天不超过4克。"),
]
RIGHT = [
    (EN, "Take ibuprofen 400 mg three times a day with food."),
    (EN, "Take paracetamol 1 g, and no more than 4 g in a day."),
    (EN, "Did you take ibuprofen 800 mg yesterday?"),
    (EN, "Do not take ibuprofen 800 mg again."),
    (EN, "Ibuprofen is 100 mg/5 ml as a syrup."),
    (EN, "Ibuprofen 10 mg per kg is right for a child, or aspirin 900 mg."),
    (EN, "Ibuprofen or aspirin 900 mg may help."),
    (EN, "Take aspirin 900 mg."),
    (EN, "Ibuprofen 0.4 g is enough."),
    (ZH, "吃布洛芬，每次400毫克，每天三次。"),
    (ZH, "对乙酰氨基酚一次0.5克，一天不超过2克。"),
    (ZH, "您昨天吃了布洛芬800毫克吗？"),
    (ZH, "不要吃布洛芬800毫克。"),
    (ZH, "布洛芬按每公斤10毫克。"),
]


@pytest.mark.parametrize(("treatments", "text"), WRONG)
def test_a_dose_out_of_its_range_is_found(treatments, text):
    assert len(list(find_wrong_doses(text, treatments))) == 1


@pytest.mark.parametrize(("treatments", "text"), RIGHT)
def test_a_dose_within_its_range_or_no_dose_at_all_is_not(treatments, text):
    assert list(find_wrong_doses(text, treatments)) == []


def test_nothing_is_found_where_the_case_names_no_drug():
    assert list(find_wrong_doses(WRONG[0][1], ())) == []
