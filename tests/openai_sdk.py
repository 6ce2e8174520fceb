"""Asks a service at the address given through OpenAI's own Python package, and checks what the package makes of it.

Answers are held to the package's types strictly: the package itself reads them leniently.
"""

import sys

import openai
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)


def strictly(kind, answer):
    """The answer as its type, every field of which must be of the type that the package says."""
    return kind.model_validate(answer.model_dump(), strict=False)


models = list(client.models.list())
assert [model.id for model in models] == ["tiny"], models
strictly(Model, models[0])
strictly(Model, client.models.retrieve("tiny"))

completion = client.completions.create(model="tiny", prompt=["predict: the order", "explain: the order"], max_tokens=8)
strictly(Completion, completion)
assert len(completion.choices) == 2 and completion.usage.total_tokens > 8, completion

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the order came late"}]
chat = client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_completion_tokens=20)
strictly(ChatCompletion, chat)
assert chat.choices[0].message.content in ("refund", "exchange", "reject"), chat

extension = {"include": ["rationale", "confidence", "label_probs"], "label_set": ["yes", "no"]}
chat = client.chat.completions.create(model="tiny", messages=messages, extra_body=extension)
assert chat.choices[0].message.reasoning_content is not None, chat
assert abs(sum(chat.choices[0].stepwise["label_probs"].values()) - 1) < 1e-6, chat
assert chat.choices[0].message.content == chat.choices[0].stepwise["label"], chat

try:
    client.chat.completions.create(model="tiny", messages=messages, tools=[{"type": "function", "function": {"name": "f"}}])
    raise AssertionError("tools are not refused")
except openai.BadRequestError as error:
    assert (error.code, error.param) == ("unsupported_parameter", "tools"), error
    assert error.request_id, error

try:
    client.completions.create(model="tinny", prompt="x")
    raise AssertionError("an unknown model is not refused")
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and "tiny" in str(error), error
