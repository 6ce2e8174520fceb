"""Random T5s of many shapes, with what `transformers` computes of each: the form of `expected.json` is what
`tests/it/reference` reads. Random weights make every mistake visible, and some of them make every comparison hang on rounding:
a case is kept only where neither fp64 nor another order of the rows changes what it says."""

import json
import os

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, T5Tokenizer

torch.set_num_threads(1)

INPUT, TARGET = 128, 96
# Not a half, with which a loss that mixes up its two parts would be the same.
ALPHA, STEPS, CLIP = 0.3, 20, 1.0
GREEDY, BEAM_ROWS = 24, 6
# A run is kept when fp64, reversed rows and libtorch's own GELU move no loss of it further than this.
MOST_SHIFT = 1e-4

COMMON = dict(vocab_size=3128, d_model=48, d_kv=16, d_ff=96, num_layers=2, num_decoder_layers=2, num_heads=3,
              relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
              decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)

# What makes each case different. `end`: at this share of an answer's places </s> is the likeliest token; `twins`: so many
# tokens score exactly like others.
CASES = {
    "deep_encoder": dict(num_layers=5, num_decoder_layers=1, feed_forward_proj="relu", end=0.0),
    "deep_decoder": dict(num_layers=1, num_decoder_layers=4, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "symmetric_by_default": dict(num_decoder_layers=None, feed_forward_proj="relu"),
    "few_buckets": dict(relative_attention_num_buckets=4, relative_attention_max_distance=3, feed_forward_proj="relu"),
    "many_buckets": dict(relative_attention_num_buckets=64, relative_attention_max_distance=80,
                         feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "wide_heads": dict(d_model=40, d_kv=36, num_heads=5, feed_forward_proj="relu", end=0.6),
    "narrow_heads": dict(d_model=60, d_kv=4, num_heads=7, feed_forward_proj="gated-silu", tie_word_embeddings=False),
    "large_epsilon": dict(layer_norm_epsilon=0.1, feed_forward_proj="relu", tie_word_embeddings=False),
    "v1_1_tied": dict(feed_forward_proj="gated-gelu", end=0.95),
    "relu_untied": dict(feed_forward_proj="relu", tie_word_embeddings=False),
    "gated_silu_tied": dict(feed_forward_proj="gated-silu"),
    "mt5": dict(model_type="mt5", tie_word_embeddings=False, end=0.9),
    "mt5_tied": dict(model_type="mt5", tie_word_embeddings=True),
    "twin_tokens": dict(feed_forward_proj="relu", tie_word_embeddings=False, end=0.3, twins=1500),
    "stored_in_bf16": dict(feed_forward_proj="gated-silu", tie_word_embeddings=False, stored=torch.bfloat16),
    "stored_in_fp16": dict(feed_forward_proj="relu", stored=torch.float16),
    "stored_in_fp64": dict(feed_forward_proj="relu", tie_word_embeddings=False, stored=torch.float64),
    "before_torch_1_6": dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, files="legacy"),
    "torch_shards": dict(feed_forward_proj="gated-silu", files="torch_shards"),
}

OWN = ("end", "twins", "stored", "files")

SEARCHES = [
    dict(num_beams=3, answers=3, length_penalty=2.0, early_stopping=True, max_new_tokens=12),
    dict(num_beams=5, answers=2, length_penalty=0.0, early_stopping="never", max_new_tokens=20),
    dict(num_beams=2, answers=2, length_penalty=-0.5, early_stopping=False, max_new_tokens=12, min_new_tokens=6),
    dict(num_beams=6, answers=6, length_penalty=1.0, early_stopping="never", max_new_tokens=10),
]


def rows(shared):
    """Real rows of three kinds, short and long."""
    found = []
    for name in ("svamp/train", "cqa/train", "anli1/valid", "esnli/valid"):
        with open(os.path.join(shared, "data", f"{name}.jsonl"), encoding="utf-8") as file:
            whole = (row for row in map(json.loads, file) if row["llm_label"] and row["rationale"])
            found += [{part: row[part] for part in ("id", "input", "llm_label", "rationale")}
                      for _, row in zip(range(3), whole)]
    return found


def make(name, examples, spiece, folder):
    """Writes a case's folder, with the first seed that gives one that does not hang on rounding."""
    settings = {**COMMON, **CASES[name]}
    own = {"end": 0.6, **{key: settings.pop(key) for key in OWN if key in settings}}
    config = AutoConfig.for_model(settings.pop("model_type", "t5"), **settings)
    for seed in range(20):
        torch.manual_seed(seed)
        model = AutoModelForSeq2SeqLM.from_config(config)
        tokenizer = T5Tokenizer(spiece, legacy=True)
        spoil(model, own, Case(model, tokenizer, examples, 0).batches()[1])
        for rate in (3e-4, 1e-4, 3e-5):
            case = Case(model, tokenizer, examples, rate)
            if case.is_steady():
                os.makedirs(folder, exist_ok=True)
                store(model, own, folder)
                case.tokenizer.save_vocabulary(folder)
                with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
                    json.dump({**case.expected(), "seed": seed}, file, indent=1)
                return
    raise SystemExit(f"{name}: no seed gives a case that does not hang on rounding")


def spoil(model, own, batch):
    """Norms that are not all ones, layers that weigh more than the token before, and what the case asks for."""
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "layer_norm" in parameter_name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
            elif parameter_name.endswith(("v.weight", ".o.weight", "wo.weight")):
                parameter.mul_(2)
        output = model.get_output_embeddings().weight
        if own.get("twins"):
            output[100:100 + own["twins"]] = output[100 + own["twins"]:100 + 2 * own["twins"]]
        if own["end"]:
            found, real = model(**batch, output_hidden_states=True), batch["labels"] >= 0
            hidden, likeliest = found.decoder_hidden_states[-1][real], found.logits[real].amax(-1)
            mean = hidden.mean(0)
            # As tall as the likeliest token at that share of the places.
            output[1] = mean * (likeliest / logits_along(model, hidden, mean)).quantile(own["end"])
        if own.get("stored"):
            for parameter in model.parameters():
                parameter.copy_(parameter.to(own["stored"]).float())


def logits_along(model, hidden, row):
    """What the output layer would make of this row."""
    scale = model.config.d_model ** -0.5 if model.config.tie_word_embeddings else 1.0
    return (hidden * scale) @ row


def store(model, own, folder):
    """The files as the Hub has them."""
    tensors = {name: tensor.to(own.get("stored") or torch.float32) for name, tensor in model.state_dict().items()}
    if own.get("files") == "legacy":
        model.config.save_pretrained(folder)
        torch.save(tensors, os.path.join(folder, "pytorch_model.bin"), _use_new_zipfile_serialization=False)
    elif own.get("files") == "torch_shards":
        model.save_pretrained(folder, safe_serialization=False, max_shard_size="200KB")
    else:
        stored = AutoModelForSeq2SeqLM.from_config(model.config).to(own.get("stored") or torch.float32)
        stored.load_state_dict(tensors)
        stored.save_pretrained(folder)


class Case:
    """A model with the rows that it is asked and taught."""

    def __init__(self, model, tokenizer, examples, rate):
        self.model, self.tokenizer, self.examples, self.rate = model.eval(), tokenizer, examples, rate

    def batch(self, prefix, target, examples):
        inputs = self.tokenizer([prefix + example["input"] for example in examples], return_tensors="pt",
                                padding=True, truncation=True, max_length=INPUT)
        labels = self.tokenizer([example[target] for example in examples], return_tensors="pt",
                                padding=True, truncation=True, max_length=TARGET).input_ids
        return dict(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask,
                    labels=labels.masked_fill(labels == self.tokenizer.pad_token_id, -100))

    def batches(self, reverse=False):
        examples = self.examples[::-1] if reverse else self.examples
        return self.batch("predict: ", "llm_label", examples), self.batch("explain: ", "rationale", examples)

    def copy(self, kind=torch.float32, fused_gelu=False):
        """The same model, to be changed."""
        model = AutoModelForSeq2SeqLM.from_config(self.model.config).to(kind)
        model.load_state_dict(self.model.state_dict())
        for module in model.modules():
            if fused_gelu and hasattr(module, "act") and "GELU" in type(module.act).__name__:
                module.act = torch.nn.GELU(approximate="tanh")
        return model.eval()

    def run(self, reverse=False, **changes):
        """The curve of full-batch AdamW, the rate falling linearly to 0."""
        model, batches, curve = self.copy(**changes), self.batches(reverse), []
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
        for _ in range(STEPS):
            label, rationale = (model(**batch).loss for batch in batches)
            loss = ALPHA * label + (1 - ALPHA) * rationale
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            curve.append(dict(loss=loss.item(), label_loss=label.item(), rationale_loss=rationale.item(),
                              gradient_norm=norm.item()))
        return curve

    def generate(self, model, most, **settings):
        inputs = self.batch("predict: ", "llm_label", self.examples[:most])
        answers = settings.pop("answers", 1)
        # transformers 4.57 makes a cache of as many layers as the encoder has.
        settings["use_cache"] = model.config.num_decoder_layers <= model.config.num_layers
        with torch.no_grad():
            return model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                  do_sample=False, num_return_sequences=answers, return_dict_in_generate=True,
                                  output_scores=True, **settings)

    def said(self, model):
        """All that is generated: greedy ids, and each search's ids and scores."""
        greedy = self.generate(model, len(self.examples), num_beams=1, max_new_tokens=GREEDY).sequences.tolist()
        searches = []
        for search in [dict(num_beams=4, max_new_tokens=16), *SEARCHES]:
            found = self.generate(model, BEAM_ROWS, **search)
            searches.append(dict(search, ids=found.sequences.tolist(), scores=found.sequences_scores.tolist()))
        return greedy, searches

    def is_steady(self):
        """Whether nothing that is compared hangs on rounding."""
        self.curve = self.run()
        others = [self.run(kind=torch.float64), self.run(reverse=True), self.run(fused_gelu=True)]
        shifts = [abs(one[part] - own[part]) / abs(own[part]) for other in others
                  for one, own in zip(other, self.curve) for part in ("loss", "label_loss", "rationale_loss")]
        self.shift = max(shifts)
        self.greedy, self.searches = self.said(self.model)
        greedy, searches = self.said(self.copy(kind=torch.float64))
        same = greedy == self.greedy and [one["ids"] for one in searches] == [one["ids"] for one in self.searches]
        return self.shift <= MOST_SHIFT and same

    def gradients(self):
        model = self.copy()
        label, rationale = (model(**batch).loss for batch in self.batches())
        (ALPHA * label + (1 - ALPHA) * rationale).backward()
        return {name: [parameter.grad.norm().item(), parameter.grad.flatten()[0].item()]
                for name, parameter in model.named_parameters()}

    def log_likelihoods(self, candidates):
        inputs = self.batch("predict: ", "llm_label", self.examples[:BEAM_ROWS])
        found = []
        for candidate in candidates:
            target = self.tokenizer(candidate, return_tensors="pt").input_ids.repeat(BEAM_ROWS, 1)
            inputs["labels"] = target
            with torch.no_grad():
                logits = self.model(**inputs).logits
            found.append(logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1).sum(-1))
        return torch.stack(found, 1).tolist()

    def expected(self):
        with torch.no_grad():
            losses = [self.model(**batch).loss.item() for batch in self.batches()]
            first = self.model(**self.batch("predict: ", "llm_label", self.examples[:1])).logits[0, :3, :16]
        candidates = list(dict.fromkeys(example["llm_label"] for example in self.examples))[:5]
        four, *further = self.searches
        known = [[token for token in row if token < len(self.tokenizer)] for row in self.greedy]
        texts = [self.tokenizer.decode(row, skip_special_tokens=True) for row in known]
        return {
            "examples": self.examples, "label_loss": losses[0], "rationale_loss": losses[1], "alpha": ALPHA,
            "gradient_norm_and_first": self.gradients(), "greedy_ids": self.greedy, "greedy_text": texts,
            "beam4_ids": four["ids"], "beam4_scores": four["scores"], "beam_searches": further,
            "candidates": candidates, "candidate_log_likelihood": self.log_likelihoods(candidates),
            "logits_first_example_first_3_positions": first.tolist(),
            "adamw_run": {"learning_rate": self.rate, "steps": STEPS, "clip_norm": CLIP, "curve": self.curve,
                          "largest_relative_shift_under_fp64_reversed_rows_or_fused_gelu": self.shift},
        }


def export_differences(made, exports, examples):
    """Each case's largest difference between the logits of its own files and of what was exported from them."""
    for name in sorted(os.listdir(exports)):
        case, export = os.path.join(made, name), os.path.join(exports, name)
        if not os.path.exists(case):
            continue
        logits = []
        for folder in (case, export):
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, torch_dtype=torch.float32)
            tokenizer = T5Tokenizer(os.path.join(case, "spiece.model"), legacy=True)
            with torch.no_grad():
                logits.append(model(**Case(model.eval(), tokenizer, examples, 0).batches()[0]).logits)
        yield name, (logits[0] - logits[1]).abs().max().item()
