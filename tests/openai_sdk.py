"""Asks a service through OpenAI's own Python package, as it is, and checks what the package makes of the answers.

Answers are held to the package's types strictly: the package itself reads them leniently.

usage: tests/openai_sdk.py ADDRESS ROWS.jsonl TASK.json
"""

import csv
import io
import json
import sys
import time
from pathlib import Path

import openai
from openai.types import Completion, FileObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

ADDRESS, ROWS, TASK = sys.argv[1], Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
# Nothing that is waited for takes this long unless it is broken.
PATIENCE = 120
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the order came late"}]
LABELS = ("refund", "exchange", "reject")

# The key comes from OPENAI_API_KEY, as the package has it.
client = openai.OpenAI(base_url=ADDRESS, max_retries=0)
jobs = client.fine_tuning.jobs


def strictly(kind, answer):
    """The answer as its type, every field of which must be of the type that the package says."""
    return kind.model_validate(answer.model_dump(), strict=False)


def refused(kind, ask, *wanted):
    """What the package raises where the service refuses."""
    try:
        ask()
    except kind as error:
        assert (error.code, error.param) == wanted, error
        assert error.request_id, error
        return error
    raise AssertionError(f"not refused: {wanted}")


def wait(job, ends):
    begun = time.monotonic()
    while job.status not in ends:
        assert time.monotonic() - begun < PATIENCE, job
        time.sleep(0.05)
        job = jobs.retrieve(job.id)
    return job


def models():
    listed = list(client.models.list())
    assert [model.id for model in listed] == ["tiny"], listed
    strictly(Model, listed[0])
    strictly(Model, client.models.retrieve("tiny"))
    error = refused(openai.NotFoundError, lambda: client.models.retrieve("tinny"), "model_not_found", "model")
    assert "tiny" in str(error), error


def completions():
    prompts = ["predict: the order", "explain: the order"]
    completion = client.completions.create(model="tiny", prompt=prompts, max_tokens=8)
    strictly(Completion, completion)
    assert len(completion.choices) == 2 and completion.usage.total_tokens > 8, completion
    refused(
        openai.NotFoundError, lambda: client.completions.create(model="tinny", prompt="x"), "model_not_found", "model"
    )


def chat(model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, temperature=0, max_completion_tokens=20)
    strictly(ChatCompletion, answer)
    assert answer.choices[0].message.content in LABELS, answer
    extension = {"include": ["rationale", "confidence", "label_probs"], "label_set": ["yes", "no"]}
    answer = client.chat.completions.create(model=model, messages=MESSAGES, extra_body=extension)
    choice = answer.choices[0]
    assert abs(sum(choice.stepwise["label_probs"].values()) - 1) < 1e-6, answer
    assert choice.message.content == choice.stepwise["label"], answer
    return choice.message


def streams(model):
    """What comes in pieces is what comes whole."""
    ask = {"model": model, "messages": MESSAGES}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        strictly(ChatCompletionChunk, chunk)
    assert len({chunk.id for chunk in chunks}) == 1, chunks
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage, chunks[-1]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == whole.choices[0].message.content, choices
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"], choices
    with client.chat.completions.stream(**ask) as stream:
        gathered = stream.get_final_completion()
    assert gathered.choices[0].message.content == whole.choices[0].message.content, gathered

    ask = {"model": model, "prompt": "explain: the order", "max_tokens": 6}
    whole = client.completions.create(**ask)
    chunks = list(client.completions.create(**ask, stream=True))
    for chunk in chunks:
        strictly(Completion, chunk)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text, chunks
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason, chunks


def logprobs(model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=2)
    strictly(ChatCompletion, answer)
    tokens = answer.choices[0].logprobs.content
    assert tokens and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens), tokens
    answer = client.completions.create(model=model, prompt="explain: the order", max_tokens=4, logprobs=2)
    strictly(Completion, answer)
    told = answer.choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset) > 0, told


def sampling(model):
    ask = {"model": model, "prompt": "explain: the order", "max_tokens": 8, "temperature": 1.5, "n": 3, "seed": 7}
    first, again = (client.completions.create(**ask) for _ in range(2))
    assert [choice.text for choice in first.choices] == [choice.text for choice in again.choices], (first, again)
    assert len({choice.text for choice in first.choices}) > 1, first


def chat_refusals():
    tools = [{"type": "function", "function": {"name": "f"}}]
    refused(
        openai.BadRequestError,
        lambda: client.chat.completions.create(model="tiny", messages=MESSAGES, tools=tools),
        "unsupported_parameter",
        "tools",
    )


def files():
    bad = client.files.create(file=("bad.jsonl", b'{"inptu": "a"}\n'), purpose="fine-tune")
    assert client.files.wait_for_processing(bad.id).status == "error", bad
    refused(openai.BadRequestError, lambda: jobs.create(model="tiny", training_file=bad.id), "invalid_file", "training_file")
    assert client.files.delete(bad.id).deleted
    file = client.files.create(file=ROWS, purpose="fine-tune")
    strictly(FileObject, file)
    assert client.files.wait_for_processing(file.id).status == "processed", file
    assert [listed.id for listed in client.files.list(purpose="fine-tune")] == [file.id]
    assert client.files.content(file.id).read() == ROWS.read_bytes()
    return file.id


def supervised(**hyperparameters):
    knobs = {"n_epochs": "auto", "batch_size": 8, "learning_rate_multiplier": "auto", "eval_rows": 8}
    return {"type": "supervised", "supervised": {"hyperparameters": knobs | hyperparameters, "task": TASK}}


def fine_tuning(file):
    """A training from its submission to the model and its checkpoints."""
    made = jobs.create(
        model="tiny",
        training_file=file,
        suffix="desk",
        seed=3,
        metadata={"team": "returns"},
        method=supervised(n_epochs=2, checkpoint_every=5, log_every=5, eval_steps=10),
    )
    strictly(FineTuningJob, made)
    job = wait(made, ("succeeded", "failed", "cancelled"))
    assert job.status == "succeeded", job
    strictly(FineTuningJob, job)
    assert job.error is None and job.finished_at >= job.created_at and job.trained_tokens > 0, job
    assert (job.seed, job.hyperparameters.n_epochs, job.metadata) == (3, 2, {"team": "returns"}), job
    assert job.fine_tuned_model.startswith("tiny-desk-"), job
    assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model
    events(job)
    checkpoints(job)
    results(job)
    chat(job.fine_tuned_model)
    streams(job.fine_tuned_model)


def events(job):
    told = list(jobs.list_events(job.id, limit=3))
    for event in told:
        strictly(FineTuningJobEvent, event)
    assert len({event.id for event in told}) == len(told) > 6, told
    assert [event.created_at for event in told] == sorted((event.created_at for event in told), reverse=True)
    assert (told[-1].type, told[-1].code) == ("message", "queued"), told[-1]
    figures = [event.data for event in told if event.type == "metrics"]
    steps = [data["step"] for data in figures if "train_loss" in data]
    assert steps == sorted(steps, reverse=True) and len(steps) > 1, figures
    assert any("label_accuracy" in data for data in figures), figures


def results(job):
    """The figures as a file, which are those that were told."""
    [result] = job.result_files
    file = client.files.retrieve(result)
    strictly(FileObject, file)
    assert (file.filename, file.purpose) == ("step_metrics.csv", "fine-tune-results"), file
    text = client.files.content(result).read().decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0])[:2] == ["step", "train_loss"], text
    wanted = {}
    for event in jobs.list_events(job.id, limit=100):
        if event.type == "metrics":
            wanted.setdefault(event.data["step"], {}).update(event.data)
    assert [int(row["step"]) for row in rows] == sorted(wanted), text
    for row in rows:
        for name, value in row.items():
            assert (float(value) if value else None) == wanted[int(row["step"])].get(name), (name, row, wanted)
    assert [listed.id for listed in client.files.list(purpose="fine-tune-results")] == [result]


def checkpoints(job):
    left = list(jobs.checkpoints.list(job.id, limit=1))
    for checkpoint in left:
        strictly(FineTuningJobCheckpoint, checkpoint)
        assert checkpoint.fine_tuning_job_id == job.id and checkpoint.metrics.train_loss is not None, checkpoint
        chat(checkpoint.fine_tuned_model_checkpoint)
    steps = [checkpoint.step_number for checkpoint in left]
    assert len(steps) > 1 and steps == sorted(steps, reverse=True), left


def many(file):
    """A long training, paused, resumed and cancelled; and 45 jobs that wait for it."""
    first = jobs.create(model="tiny", training_file=file, method=supervised(n_epochs=100_000))
    assert jobs.pause(first.id).status in ("paused", "running")
    wait(first, ("paused",))
    waiting = [
        jobs.create(model="tiny", training_file=file, method=supervised(), extra_body={"depends_on": [first.id]})
        for _ in range(45)
    ]
    page = jobs.list(limit=20)
    assert len(page.data) == 20 and page.has_more, page
    listed = [job.id for job in jobs.list(limit=20)]
    assert listed[:45] == [job.id for job in reversed(waiting)] and listed[45] == first.id, listed
    assert len(listed) == len(set(listed)) == 47, listed
    of_team = jobs.list(extra_query={"metadata[team]": "returns"})
    assert len(of_team.data) == 1, of_team
    assert jobs.resume(first.id).status in ("queued", "running")
    assert jobs.cancel(first.id).status in ("cancelled", "running")
    wait(first, ("cancelled",))
    failed = wait(waiting[0], ("failed",))
    strictly(FineTuningJob, failed)
    assert failed.error.code == "dependency_failed", failed
    conflicts(failed.id)


def conflicts(job):
    """What will not change is not asked again, though the package asks again after a 409."""
    sent = []
    patient = openai.OpenAI(base_url=ADDRESS, max_retries=5)
    patient._client.event_hooks["request"].append(sent.append)
    for ask in (patient.fine_tuning.jobs.cancel, patient.fine_tuning.jobs.pause, patient.fine_tuning.jobs.resume):
        refused(openai.ConflictError, lambda: ask(job), "job_is_over", None)
    assert len(sent) == 3, sent


def job_refusals(file):
    missing = "job-" + 32 * "0"
    refused(openai.NotFoundError, lambda: jobs.retrieve(missing), "not_found", None)
    refused(
        openai.BadRequestError, lambda: jobs.create(model="tinny", training_file=file), "student_not_found", "model"
    )
    wrong = supervised(n_epoch=1)
    place = "method.supervised.hyperparameters.n_epoch"
    error = refused(
        openai.BadRequestError,
        lambda: jobs.create(model="tiny", training_file=file, method=wrong),
        "unknown_parameter",
        place,
    )
    assert "n_epochs" in str(error), error
    wandb = [{"type": "wandb", "wandb": {"project": "desk"}}]
    refused(
        openai.BadRequestError,
        lambda: jobs.create(model="tiny", training_file=file, integrations=wandb),
        "unsupported_parameter",
        "integrations",
    )


def keys():
    """What the package makes of a key that is not good."""
    unknown = openai.OpenAI(base_url=ADDRESS, api_key="sk-none", max_retries=0)
    refused(openai.AuthenticationError, unknown.models.list, "invalid_api_key", None)


keys()
models()
completions()
assert chat("tiny").reasoning_content is not None
streams("tiny")
logprobs("tiny")
sampling("tiny")
chat_refusals()
rows = files()
job_refusals(rows)
fine_tuning(rows)
many(rows)
