"""What the serving benchmarks ask, and whom: the same rows and the same random students for all that are compared."""

import json
import os
import subprocess
import sys

# Rows of the file that are asked, as the peer chooses them.
ROWS = 64


def write_rows(source, target):
    """Inputs with the teacher's label and rationale, as the peer chooses them."""
    with open(source, encoding="utf-8") as rows:
        inputs = [row["input"] for row in map(json.loads, rows) if row.get("rationale") and row.get("llm_label")]
    with open(target, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"input": text}) + "\n" for text in inputs[:ROWS])


def student_of(arguments, size):
    """The folder of a random student, made where it is missing."""
    folder = os.path.join(arguments.models, size)
    if not os.path.exists(os.path.join(folder, "config.json")):
        if not arguments.python:
            sys.exit(f"there is no {folder}; give --python, with which it is made, or --models")
        script = os.path.join(arguments.peers, "make_model.py")
        subprocess.run([arguments.python, script, size, folder], check=True, stdout=subprocess.DEVNULL)
    return folder
