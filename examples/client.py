"""A small client of the stepwise API, in the standard library alone: upload, submit, wait, ask.

    from client import Client
    stepwise = Client("http://127.0.0.1:8080")
    file = stepwise.upload("rows.jsonl")
    job = stepwise.submit("annotation", {"file": file["id"], "teacher": "desk", "task": "text"})
    print(stepwise.wait(job["id"])["result"])
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

POLL_SECONDS = 0.5
# How long a service that does not answer is asked again while a job is waited for: it may be restarting.
PATIENCE_SECONDS = 60


class ApiError(Exception):
    """The service refused a request; the text says why, field by field."""

    def __init__(self, status, problem):
        self.status, self.problem = status, problem
        lines = [f"{status}: {problem.get('detail') or problem.get('title') or 'no reason given'}"]
        lines += [f"  {error.get('pointer', '')}: {error.get('detail', '')}" for error in problem.get("errors") or []]
        super().__init__("\n".join(lines))


class JobFailed(Exception):
    """A job ended in another state than succeeded."""

    def __init__(self, job):
        self.job = job
        error = job.get("error") or {}
        super().__init__(f"{job['kind']} job {job['id']} {job['state']}: {error.get('code')}: {error.get('message')}")


class Client:
    """One service. Its key, where it wants one, comes from the variable STEPWISE_API_KEY."""

    def __init__(self, url, api_key=None):
        self.api_key = api_key or os.environ.get("STEPWISE_API_KEY")
        self.url = url.rstrip("/")
        # The service is beside us; a proxy of the environment is not meant for it.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method, path, body=None, content_type="application/json", timeout=300):
        """The reply's JSON. `body`: bytes, or anything that JSON can hold."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": content_type} if body is not None else {}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with self.opener.open(request, timeout=timeout) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, read_problem(error)) from None

    def upload(self, path, purpose="fine-tune"):
        """Uploads a file of JSON lines. A file with a bad line is an error that names the line."""
        with open(path, "rb") as file:
            content_type, body = form({"purpose": purpose}, os.path.basename(path), file.read())
        file = self.request("POST", "/v1/files", body, content_type)
        if file["status"] != "processed":
            errors = file["validation"]["errors"]
            told = [{"pointer": f"line {error['line']}", "detail": error["message"]} for error in errors[:10]]
            raise ApiError(400, {"detail": f"{path} has bad lines", "errors": told})
        return file

    def submit(self, kind, body):
        """Queues a job of this kind: annotation, distillation or evaluation."""
        return self.request("POST", f"/v1/{kind}-jobs", body)

    def job(self, job_id):
        return self.request("GET", f"/v1/jobs/{job_id}")

    def wait(self, job_id, label=""):
        """The finished job. Shows its progress; raises JobFailed unless it succeeded."""
        line = ProgressLine(label or job_id)
        silent_since = None
        while True:
            try:
                job = self.job(job_id)
                silent_since = None
            except (ApiError, OSError) as error:
                # 503: the service is there and its database is not. A URLError is an OSError.
                silent_since = silent_since or time.monotonic()
                lasting = isinstance(error, ApiError) and error.status != 503
                if lasting or time.monotonic() - silent_since > PATIENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            line.show(job)
            if job["terminal"]:
                line.end()
                if job["state"] != "succeeded":
                    raise JobFailed(job)
                return job
            time.sleep(POLL_SECONDS)

    def predict(self, model, inputs, include=()):
        """One answer for each input."""
        body = {"model": model, "inputs": list(inputs), "include": list(include)}
        return self.request("POST", "/v1/predictions", body)["data"]


class ProgressLine:
    """A job's progress: one line that is written over on a terminal, a few lines elsewhere."""

    def __init__(self, label):
        self.label, self.shown, self.over = label, None, sys.stderr.isatty()

    def show(self, job):
        progress = job.get("progress") or {}
        percent = progress.get("percent") or 0
        text = f"  {self.label}: {job['state']}"
        if job["state"] == "running" and progress:
            text += f", {progress['step']} of {progress['total']} ({percent:.0f} %)"
            if progress.get("seconds_remaining") is not None:
                text += f", {progress['seconds_remaining']} s to go"
        if self.over:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif (job["state"], int(percent // 20)) != self.shown:
            self.shown = (job["state"], int(percent // 20))
            print(text, file=sys.stderr, flush=True)

    def end(self):
        if self.over:
            sys.stderr.write("\n")


def form(fields, filename, content):
    """The content type and body of a form with one file."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    # A quote or line break would end the header's value early.
    name = urllib.parse.quote(filename, safe=" .-_()")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts += [head.encode(), b"Content-Type: application/x-ndjson\r\n\r\n", content, f"\r\n--{boundary}--\r\n".encode()]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


def read_problem(error):
    """The problem+json body of an error reply, or what else the server said."""
    text = error.read().decode("utf-8", "replace")
    try:
        problem = json.loads(text)
        return problem if isinstance(problem, dict) else {"detail": text[:400]}
    except ValueError:
        return {"detail": text[:400]}
