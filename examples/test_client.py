"""The examples' client against a small server that says what the service says."""

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import client  # noqa: E402
from table import percent, render  # noqa: E402

client.POLL_SECONDS = 0


class Server:
    """Answers with `replies` in turn, and keeps what it was asked."""

    def __init__(self, *replies):
        self.asked = []
        waiting = list(replies)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append((self.command, self.path, self.headers.get("Content-Type"), body))
                status, reply = waiting.pop(0)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(reply if isinstance(reply, bytes) else json.dumps(reply).encode())

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.client = client.Client(f"http://127.0.0.1:{self.server.server_port}/")

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def job(state, **more):
    return {"id": "job-1", "kind": "annotation", "state": state, "terminal": state in ("succeeded", "failed"), **more}


class ClientTest(unittest.TestCase):
    def test_an_upload_is_a_form_with_the_files_bytes(self):
        with Server((201, {"id": "file-1", "status": "processed"})) as server, tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a "quoted" name.jsonl')
            with open(path, "wb") as file:
                file.write('{"input": "ä"}\n'.encode())
            self.assertEqual(server.client.upload(path, "evals")["id"], "file-1")
            method, route, content_type, body = server.asked[0]
            self.assertEqual((method, route), ("POST", "/v1/files"))
            boundary = content_type.split("boundary=")[1].encode()
            parts = body.split(b"--" + boundary)
            self.assertEqual(parts[-1], b"--\r\n")
            self.assertTrue(parts[1].endswith(b'name="purpose"\r\n\r\nevals\r\n'))
            self.assertTrue(parts[2].endswith(b'\r\n\r\n{"input": "\xc3\xa4"}\n\r\n'))
            self.assertNotIn(b'a "quoted"', parts[2])

    def test_a_file_with_bad_lines_names_them(self):
        errors = [{"line": 3, "code": "empty", "message": '"input" is empty'}]
        with Server((201, {"status": "error", "validation": {"errors": errors}})) as server:
            with self.assertRaisesRegex(client.ApiError, 'line 3: "input" is empty'):
                server.client.upload(__file__)

    def test_a_refusal_is_told_field_by_field(self):
        problem = {"detail": "one field is wrong", "errors": [{"pointer": "#/teacher", "detail": "there is no teacher"}]}
        with Server((400, problem), (502, b"<html>")) as server:
            with self.assertRaisesRegex(client.ApiError, "400: one field is wrong\n  #/teacher: there is no teacher"):
                server.client.submit("annotation", {})
            with self.assertRaisesRegex(client.ApiError, "502: <html>"):
                server.client.submit("annotation", {})

    def test_waiting_outlasts_a_database_that_is_away_and_shows_progress(self):
        running = job("running", progress={"step": 1, "total": 2, "percent": 50.0, "seconds_remaining": 7})
        replies = [(200, job("queued")), (503, {"detail": "database"}), (200, running), (200, job("succeeded", result=5))]
        said = io.StringIO()
        with Server(*replies) as server, contextlib.redirect_stderr(said):
            self.assertEqual(server.client.wait("job-1", "annotation")["result"], 5)
        self.assertIn("annotation: running, 1 of 2 (50 %), 7 s to go", said.getvalue())

    def test_a_failed_job_says_why(self):
        failed = job("failed", error={"code": "teacher_unreachable", "message": "nobody there"})
        with Server((200, failed)) as server, contextlib.redirect_stderr(io.StringIO()):
            with self.assertRaisesRegex(client.JobFailed, "job-1 failed: teacher_unreachable: nobody there"):
                server.client.wait("job-1")

    def test_a_table_lines_up(self):
        self.assertEqual(render(["a", "bb"], [["ccc", 1]]), "a    bb\n---  --\nccc   1")
        self.assertEqual((percent(0.5), percent(None)), ("50.00 %", "-"))


if __name__ == "__main__":
    unittest.main()
