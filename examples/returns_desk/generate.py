#!/usr/bin/env python3
"""Writes the demo's data: a returns desk that must answer refund, exchange or reject.

An input tells the facts of an order in words. Seven ordered rules decide, so the answer needs two or three steps: who
has which window, what takes precedence over what, which items are electronics. Rows are drawn by the rule that decides
them, so that every rule is well covered and no label is a majority.

The same seed gives the same bytes on every Python 3: only random.Random(int).random() is used.

    generate.py OUT_DIR [--seed N] [--rows UNLABELED LABELED TEST]

writes unlabeled.jsonl, labeled.jsonl, test.jsonl, answers.jsonl (what the scripted teacher replays), task.json, and
stepwise.toml: a configuration that knows the task and the scripted teacher. The copy beside this script is the same.
"""

import argparse
import json
import os
import random
from collections import namedtuple

LABELS = ["refund", "exchange", "reject"]

Facts = namedtuple("Facts", "member item color final_sale days condition receipt")
Verdict = namedtuple("Verdict", "rule label rationale")

ELECTRONICS = ["laptop", "phone", "camera", "tablet", "printer", "radio", "monitor", "speaker"]
OTHER_ITEMS = ["jacket", "lamp", "kettle", "blanket", "backpack", "puzzle", "chair", "sweater"]
COLORS = ["black", "white", "red", "blue", "green", "gray"]
CONDITIONS = ["sealed", "opened", "damaged", "wrong"]
DAYS = [2, 5, 9, 14, 21, 28, 33, 38, 45, 52, 59, 64, 75, 90]

# How often each rule decides a row. Rules that can end in two labels stand here twice.
SHARES = [
    (("late", "reject"), 18),
    (("wrong item", "refund"), 10),
    (("damaged", "refund"), 9),
    (("damaged", "exchange"), 9),
    (("final sale", "reject"), 11),
    (("no receipt", "exchange"), 12),
    (("no receipt", "reject"), 6),
    (("opened electronics", "exchange"), 12),
    (("normal", "refund"), 13),
]

POLICY = """You work at the returns desk of a shop. Read the facts of an order and decide: refund, exchange or reject.
The first of these rules that applies decides:
1. Late: a member has 60 days after delivery, everybody else has 30 days. After that: reject.
2. Wrong item: the shop sent another item than the one ordered. Refund.
3. Damaged: the item arrived damaged. With a receipt: refund. Without one: exchange.
4. Final sale: the item was on final sale. Reject.
5. No receipt: a member gets an exchange. Everybody else: reject.
6. Opened electronics: exchange.
7. Normal: everything else. Refund.
First compare the days with the window, then name the facts and the rule that decide."""


class Chance:
    """Choices made from random() alone, whose sequence Python keeps stable over its versions."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def one_of(self, options):
        return options[int(self.random() * len(options))]

    def happens(self, probability):
        return self.random() < probability

    def weighted(self, pairs):
        point = self.random() * sum(weight for _, weight in pairs)
        for option, weight in pairs:
            point -= weight
            if point < 0:
                return option
        return pairs[-1][0]


def decide(facts, skip=()):
    """The policy. `skip` names rules that a careless teacher forgets."""
    window = 60 if facts.member else 30
    who = "A member" if facts.member else "A guest"
    if facts.days > window and "late" not in skip:
        steps = f"{who} has {window} days and {facts.days} days is too late."
        return Verdict("late", "reject", f"{steps} The rule for late returns decides.")
    start = f"{who} has {window} days and {facts.days} days is in time."
    rule, label, because = decide_in_time(facts, skip)
    names = {
        "wrong item": "wrong items",
        "damaged": "damaged items",
        "final sale": "final sale",
        "no receipt": "missing receipts",
        "opened electronics": "opened electronics",
        "normal": "normal returns",
    }
    return Verdict(rule, label, f"{start} {because} The rule for {names[rule]} decides.")


def decide_in_time(facts, skip):
    """Rules 2 to 7: the rule, its label and the facts that it rests on."""
    if facts.condition == "wrong" and "wrong item" not in skip:
        return "wrong item", "refund", "The shop sent the wrong item."
    if facts.condition == "damaged" and "damaged" not in skip:
        if facts.receipt:
            return "damaged", "refund", "It arrived damaged and there is a receipt."
        return "damaged", "exchange", "It arrived damaged and there is no receipt."
    if facts.final_sale and "final sale" not in skip:
        return "final sale", "reject", "It is not damaged and it was on final sale."
    if not facts.receipt and "no receipt" not in skip:
        if facts.member:
            return "no receipt", "exchange", "There is no receipt but the customer is a member."
        return "no receipt", "reject", "There is no receipt and the customer is a guest."
    electronics = facts.item in ELECTRONICS
    if electronics and facts.condition == "opened" and "opened electronics" not in skip:
        return "opened electronics", "exchange", f"A {facts.item} is electronics and it was opened."
    if electronics:
        return "normal", "refund", f"A {facts.item} is electronics but it is sealed and there is a receipt."
    return "normal", "refund", f"A {facts.item} is not electronics and there is a receipt."


WHO = {
    True: ["A member", "A club member", "A customer who is a member"],
    False: ["A guest", "A customer who is not a member", "A customer without a club card"],
}
PRICE = {
    True: ["on final sale", "in the final sale"],
    False: ["at full price", "at the normal price", "at a small discount"],
}
DELIVERY = ["It was delivered {} days ago.", "It came {} days ago.", "The delivery was {} days ago."]
CONDITION = {
    "sealed": ["The box is still sealed.", "It was never opened.", "The seal is not broken."],
    "opened": ["The box is open.", "It was opened and tried once.", "The seal is broken."],
    "damaged": ["It arrived damaged.", "It was cracked on arrival.", "It had a crack when it came."],
    "wrong": ["The shop sent the wrong item.", "It is not the item that was ordered.", "Another item was in the box."],
}
RECEIPT = {
    True: ["The receipt is here.", "They kept the receipt.", "They show a receipt."],
    False: ["There is no receipt.", "The receipt is lost.", "They do not have a receipt."],
}
REMARKS = [
    "It was a gift.",
    "They want a quick answer.",
    "They changed their mind.",
    "They found a better price.",
    "They are in a hurry.",
    "They come here often.",
    "They ask for a refund.",
    "They ask for an exchange.",
]
ORDERS = [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 2, 1), (0, 1, 3, 2)]


def tell(facts, chance):
    """The facts in words."""
    who, price = chance.one_of(WHO[facts.member]), chance.one_of(PRICE[facts.final_sale])
    parts = [
        f"{who} {chance.one_of(['bought', 'ordered'])} a {facts.color} {facts.item} {price}.",
        chance.one_of(DELIVERY).format(facts.days),
        chance.one_of(CONDITION[facts.condition]),
        chance.one_of(RECEIPT[facts.receipt]),
    ]
    sentences = [parts[place] for place in chance.one_of(ORDERS)]
    if chance.happens(0.6):
        sentences.append(chance.one_of(REMARKS))
    return " ".join(sentences)


def draw_facts(chance):
    """The facts of some order. Short waits are likelier, so that most orders are in time."""
    return Facts(
        member=chance.happens(0.5),
        item=chance.one_of(ELECTRONICS if chance.happens(0.55) else OTHER_ITEMS),
        color=chance.one_of(COLORS),
        final_sale=chance.happens(0.35),
        days=chance.one_of(DAYS),
        condition=chance.one_of(CONDITIONS),
        receipt=chance.happens(0.6),
    )


def draw_row(chance, seen):
    """An order that nobody has drawn yet: its facts, words and verdict."""
    wanted = chance.weighted(SHARES)
    while True:
        facts = draw_facts(chance)
        verdict = decide(facts)
        if (verdict.rule, verdict.label) != wanted:
            continue
        text = tell(facts, chance)
        if text not in seen:
            seen.add(text)
            return facts, text, verdict


def careless_verdict(facts, right, chance):
    """A verdict that misreads one fact or forgets one rule, and ends in another label; None where there is none."""
    tries = [decide(facts, skip=(rule,)) for rule in dict.fromkeys(rule for (rule, _), _ in SHARES) if rule != "normal"]
    tries.append(decide(facts._replace(member=not facts.member)))
    tries.append(decide(facts._replace(receipt=not facts.receipt)))
    wrong = [verdict for verdict in tries if verdict.label != right.label]
    return chance.one_of(wrong) if wrong else None


def teacher_text(facts, right, chance):
    """What the teacher said, as it came: mostly right, sometimes not, and running on into an invented order."""
    other = draw_facts(chance)
    run_on = f"\n\nInput: {tell(other, chance)}\nReasoning: {decide(other).rationale}\nAnswer:"
    run_on = run_on[: 20 + int(chance.random() * (len(run_on) - 20))]
    fate = chance.random()
    if fate < 0.003:
        return f"{right.rationale}\nAnswer: store credit{run_on}"
    if fate < 0.006:
        return f"{right.rationale}{run_on}"
    if fate < 0.01:
        return "Somebody should ask the manager about this order."
    verdict = right
    if fate < 0.09:
        verdict = careless_verdict(facts, right, chance) or right
    return f"{verdict.rationale}\nAnswer: {verdict.label}{run_on}"


def worked_examples(seen):
    """Four orders that the teacher is shown, none of them in any split."""
    chance = Chance(0)
    orders = [
        Facts(True, "camera", "black", False, 45, "opened", True),
        Facts(False, "lamp", "white", True, 14, "damaged", True),
        Facts(False, "phone", "red", False, 38, "sealed", True),
        Facts(False, "sweater", "blue", False, 9, "opened", True),
    ]
    shown = []
    for facts in orders:
        verdict, text = decide(facts), tell(facts, chance)
        seen.add(text)
        shown.append({"input": text, "rationale": verdict.rationale, "label": verdict.label})
    return shown


def write_lines(path, rows):
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def configuration(task):
    """stepwise.toml. A JSON string of plain ASCII is a TOML string too."""
    quoted = lambda text: json.dumps(text)
    lines = [
        "# Written by generate.py: the returns desk's task, and its teacher at `stepwise scripted-teacher`'s own address.",
        "",
        "[[teachers]]",
        'name = "desk"',
        'base_url = "http://127.0.0.1:8089/v1"',
        'model = "scripted"',
        "",
        "[[tasks]]",
        f"name = {quoted(task['name'])}",
        f"scorer = {quoted(task['scorer'])}",
        f"form = {quoted(task['form'])}",
        f"label_set = {{ fixed = [{', '.join(map(quoted, task['label_set']['fixed']))}] }}",
        f"instructions = {quoted(task['instructions'])}",
    ]
    for example in task["worked_examples"]:
        lines += ["", "[[tasks.worked_examples]]"] + [f"{field} = {quoted(text)}" for field, text in example.items()]
    return "\n".join(lines) + "\n"


def write_text(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def generate(folder, seed, counts):
    """Writes the six files."""
    os.makedirs(folder, exist_ok=True)
    chance, seen = Chance(seed), set()
    task = {
        "name": "returns_desk",
        "label_set": {"fixed": LABELS},
        "scorer": "exact_match",
        "form": "text",
        "instructions": POLICY,
        "worked_examples": worked_examples(seen),
    }
    write_text(os.path.join(folder, "task.json"), json.dumps(task, ensure_ascii=False, indent=2) + "\n")
    write_text(os.path.join(folder, "stepwise.toml"), configuration(task))

    answers = []
    shown_fields = {
        "unlabeled": lambda verdict: {},
        "labeled": lambda verdict: {"label": verdict.label, "rationale": verdict.rationale},
        "test": lambda verdict: {"label": verdict.label},
    }
    for (split, fields), count in zip(shown_fields.items(), counts):
        rows = []
        for number in range(count):
            facts, text, verdict = draw_row(chance, seen)
            rows.append({"id": f"{split}-{number}", "input": text, **fields(verdict)})
            answers.append({"input": text, "llm_output": teacher_text(facts, verdict, chance)})
        write_lines(os.path.join(folder, f"{split}.jsonl"), rows)
    write_lines(os.path.join(folder, "answers.jsonl"), answers)


def main():
    parser = argparse.ArgumentParser(description="Writes the returns desk's data.")
    parser.add_argument("folder", metavar="OUT_DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, nargs=3, default=[2500, 500, 600], metavar=("UNLABELED", "LABELED", "TEST"))
    arguments = parser.parse_args()
    generate(arguments.folder, arguments.seed, arguments.rows)


if __name__ == "__main__":
    main()
