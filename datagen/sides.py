"""A talk from the patient's side: data that teach a model to be the patient."""

from datagen.agents import PatientView, heard_by_patient
from datagen.prompting import read_prompt, render
from validation.schemas import Conversation, Fault, Message

SWAPPED = {"user": "assistant", "assistant": "user"}
# What only the doctor does wrong; a patient learns nothing of it.
DOCTORS_FAULTS = frozenset(
    {
        *("red_flag_not_acted_on", "must_ask_missed", "wrong_dose", "unsafe_advice"),
        *("contraindication_ignored", "invented_finding", "too_short", "unordered_result"),
        "ends_with_patient",
    }
)
BEFORE_THE_TALK = 2


def patient_side(talk: Conversation, view: PatientView) -> Conversation:
    """The talk with its roles swapped, under a system message that is the patient's view.

    The doctor's greeting comes first and the talk ends with the patient's last words, so that
    user and assistant take turns and the one who learns has the last word. Results of
    examinations are told by the doctor's side.
    """
    language = talk.language
    system = render(read_prompt(language, "chat", "patient"), view=view, plan=None, note="")
    hello = render(read_prompt(language, "chat", "greeting"))
    heard = heard_by_patient(talk.messages, language)
    last = max(i for i, message in enumerate(heard) if message.role == "user")
    swapped = tuple(
        message.model_copy(update={"role": SWAPPED[message.role]}) for message in heard[: last + 1]
    )
    messages = (
        Message(role="system", content=system),
        Message(role="user", content=hello),
        *swapped,
    )
    fields = {name: getattr(talk, name) for name in Conversation.model_fields}
    del fields["record_id"]
    changed = {"messages": messages, "side": "patient", "faults": _faults(talk, last)}
    return Conversation.model_validate(fields | changed | {"verdict": None})


def _faults(talk: Conversation, last: int) -> tuple[Fault, ...]:
    """The faults that stay in what is left, at their new places."""
    return tuple(
        fault
        if fault.message_index is None
        else fault.model_copy(update={"message_index": fault.message_index + BEFORE_THE_TALK})
        for fault in talk.faults
        if fault.name not in DOCTORS_FAULTS
        and (fault.message_index is None or fault.message_index <= last)
    )
