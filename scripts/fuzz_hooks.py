"""What scripts/fuzz has schemathesis do around each request: put ids of real things where the document has some id, and count
what was answered. `STEPWISE_FUZZ` names a JSON file with the ids, which also says where to write the counts."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import schemathesis

PLAN = json.loads(Path(os.environ["STEPWISE_FUZZ"]).read_text())
REAL = PLAN["real"]
CHANCE = random.Random(PLAN["seed"])
# What stands in a path of this beginning. A stream of a job that waits has no end to wait for.
PATHS = {
    "/v1/files/{id}": "file", "/v1/jobs/{id}/events": "job_that_is_over", "/v1/jobs/{id}/metrics": "job_that_is_over",
    "/v1/jobs/{id}": "job", "/v1/fine_tuning/jobs/{id}": "distillation", "/v1/models/{id}": "model",
    "/v1/aliases/{name}": "alias", "/v2/models/{name}": "model",
}
# What stands in a member of this name, of a body or a query; `file` in the query of nothing.
MEMBERS = {
    "file": "file", "training_file": "file", "validation_file": "file", "test_file": "file", "annotation_job": "annotation_job", "model": "model", "models": "model", "student": "model",
    "teacher": "teacher", "depends_on": "job", "task": "task",
}
# Without these a submission says nothing; every other member is one more thing to be refused for.
NEEDED = {
    "/v1/annotation-jobs": {"file", "teacher"},
    "/v1/distillation-jobs": {"training", "student"},
    "/v1/evaluation-jobs": {"file", "models"},
    "/v1/fine_tuning/jobs": {"model", "training_file"},
}
COUNTS = Counter()


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Names real things in a request, mostly: the rest stays as it was thought up."""
    path = case.operation.path
    if not REAL:
        return
    place = next((name for beginning, name in PATHS.items() if path.startswith(beginning)), None)
    if place and case.path_parameters and CHANCE.random() < 0.9:
        # A version is no name; the one that there is changes with the model's files.
        real = {name: one(place) for name in case.path_parameters if name != "version"}
        case.path_parameters = {**case.path_parameters, **real}
    if isinstance(case.body, dict):
        case.body = {name: named(name, value) for name, value in thinned(path, case.body).items()}
    if case.query:
        case.query = {name: named(name, value) for name, value in case.query.items()}


@schemathesis.hook
def after_call(context, case, response):
    """Counts the answer, and remembers a new job: it can be named from now on."""
    COUNTS[f"{case.operation.method.upper()} {case.operation.path} {response.status_code}"] += 1
    if REAL and case.operation.path in NEEDED and response.status_code in (200, 201):
        made = json.loads(response.content)
        # A dry run's answer has no id.
        if made.get("id"):
            REAL["job"].append(made["id"])
            if case.operation.path == "/v1/annotation-jobs":
                REAL["annotation_job"].append(made["id"])
            if case.operation.path in ("/v1/distillation-jobs", "/v1/fine_tuning/jobs"):
                REAL["distillation"].append(made["id"])
    Path(PLAN["counts"]).write_text(json.dumps(COUNTS))


def one(kind):
    """A real thing. Each that is to be deleted comes once before any comes twice."""
    if not PLAN["in_turn"]:
        return CHANCE.choice(REAL[kind])
    REAL[kind].append(REAL[kind].pop(0))
    return REAL[kind][-1]


def named(name, value):
    """The value, with real ids in it."""
    if isinstance(value, dict):
        return {inner: named(inner, of) for inner, of in value.items()}
    if isinstance(value, list):
        items = [named(name, item) for item in value]
        # Two names of one model are a mistake of their own.
        return list(dict.fromkeys(items)) if name == "models" and all(isinstance(item, str) for item in items) else items
    if isinstance(value, str) and name in MEMBERS and CHANCE.random() < 0.9:
        return one(MEMBERS[name])
    return value


def thinned(path, body):
    """Half of the submissions with few of the members that they could leave out."""
    needed = NEEDED.get(path)
    if needed is None or CHANCE.random() < 0.5:
        return body
    return {name: value for name, value in body.items() if name in needed or CHANCE.random() < 0.2}
