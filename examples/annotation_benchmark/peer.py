"""The calls that people write by hand: OpenAI's asyncio client, so many questions at once, answers appended to a file.

    python peer.py BASE_URL CONCURRENCY INPUTS.jsonl OUTPUT.jsonl
"""

import asyncio
import json
import sys

import openai

INSTRUCTIONS = (
    "Answer the last input. First write your reasoning in one or two sentences, then, on a new line, `Answer: ` and the "
    "answer alone. Write nothing after it.\nThe answer is one of: refund, exchange, reject."
)


async def ask(client, row):
    reply = await client.chat.completions.create(
        model="scripted",
        messages=[
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": f"Input: {row['input']}\nReasoning:"},
        ],
        temperature=0,
        max_tokens=256,
        stop=["\nInput:"],
        extra_headers={"Idempotency-Key": f"peer-{row['id']}"},
    )
    return {"id": row["id"], "answer": reply.choices[0].message.content}


async def main(base_url, concurrency, inputs, output):
    with open(inputs, encoding="utf-8") as lines, open(output, "w", encoding="utf-8") as answers:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

            async def take():
                # One iterator for all: each takes the next row when its answer is there.
                for line in lines:
                    answers.write(json.dumps(await ask(client, json.loads(line))) + "\n")

            await asyncio.gather(*(take() for _ in range(concurrency)))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
