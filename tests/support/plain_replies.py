"""Replies without the engine: prompts as the template renders them, tokens from whole forwards of one row, draws spelled out."""

from __future__ import annotations

import itertools
import math

import plain

# Tokens are only told apart where the models leave no doubt: rounding is about 1e-6.
MARGIN = 2e-5


def prompt_ids(model, question, system=None):
    """Tokens of the prompt, and how many belong to the user's turn."""
    chat = bool(model.tokenizer.chat_template)
    if chat:
        messages = [{"role": "system", "content": system}] * (system is not None) + [{"role": "user", "content": question}]
        turn, prompt = (
            model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
            for opened in (False, True)
        )
    else:
        turn = (system + "\n\n" if system else "") + "Question: " + question
        prompt = turn + "\n\nAnswer:"
    ids = plain.ids_of(model.tokenizer, prompt, not chat)
    return ids, len(plain.ids_of(model.tokenizer, turn, not chat))


def alone(model, ids, vector, m, start, new, choose, ends=()):
    """One row by itself: a whole forward per token, a batch of one, one hook."""
    tokens = list(ids)
    while len(tokens) < len(ids) + new:
        tokens.append(choose(plain.logits(model.hf, tokens, vector.directions, m, start)[-1].double().tolist()))
        if tokens[-1] in ends:
            break
    return tokens[len(ids) :]


def in_one_forward(model, ids, said, vector, m, start, choose):
    """What ``alone`` would have chosen at each token, if all before it were as said: no position sees those after it, so the logits of
    one whole forward over the row are those that its parts end with. The row is right if it says the same all the way."""
    rows = plain.logits(model.hf, [*ids, *said[:-1]], vector.directions, m, start)[len(ids) - 1 :]
    return [choose(row) for row in rows.double().tolist()]


def likeliest(logits):
    best, second = sorted(logits)[-1:-3:-1]
    assert best - second > MARGIN
    return logits.index(best)


def drawn(points, temperature, top_p=1.0):
    """Inversion of the distribution function, spelled out."""

    def choose(logits):
        weights = [math.exp((x - max(logits)) / temperature) for x in logits]
        chances = [w / math.fsum(weights) for w in weights]
        order = list(range(len(chances)))
        if top_p < 1:
            order.sort(key=lambda t: -chances[t])
            sums = list(itertools.accumulate(chances[t] for t in order))
            reach = next(n for n, total in enumerate(sums) if total >= top_p)
            assert min(abs(total - top_p) for total in sums) > 1e-6
            order = order[: reach + 1]
        point = next(points) * math.fsum(chances[t] for t in order)
        below = 0.0
        for token in order:
            below += chances[token]
            assert abs(below - point) > 1e-6
            if point < below:
                return token
        raise AssertionError

    return choose
