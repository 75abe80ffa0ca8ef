from pydantic import BaseModel

from artifacts.step import Built, Step, ensure
from artifacts.store import Store
from flows.evaluate_model import chain_of
from flows.train_model import model_inputs


class Nothing(BaseModel):
    pass


def test_a_chain_of_more_than_ten_stages_keeps_its_order(tmp_path):
    store = Store(tmp_path)

    def build(workspace):
        (workspace.out / "file").write_text("x")
        return Built()

    def made(kind, name, inputs):
        return ensure(store, Step(name, 1, kind, Nothing(), inputs, build))

    student, dataset = (made(kind, kind, {}).ref for kind in ("model", "dataset"))
    chain = []
    for number in range(12):
        inputs = model_inputs(student, dataset, chain)
        last = made("checkpoint", f"stage_{number}", inputs)
        chain.append(last.ref)
    names = [manifest.step for manifest in chain_of(store, last.manifest)]
    assert names == [f"stage_{number}" for number in range(12)]
