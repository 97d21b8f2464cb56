"""Write the train and test files of the example suite that runs on `builtin:tiny`.

    python tools/make_tiny_suite_data.py --out example_suites/builtin/data

Test items use only questions that the model's training text never asks (`tiny_text.reserved`). The random stream has a
seed of its own, apart from the training text's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import tiny_text as text

TEXTS = 100  # free-text extraction: texts on each side
TEST_ITEMS = 80
HUSHED_SHARE = 0.3  # of the test items of `loud`
NEUTRAL_LINES = 100
COLOUR = 1.0  # share of nouns in the extraction texts that carry an adjective of the mood


def distinct(draw, count: int, key=lambda item: item) -> list:
    """`count` draws that differ in `key`."""
    found = {}
    while len(found) < count:
        item = draw()
        found.setdefault(key(item), item)
    return list(found.values())


def item(question: str, matching: str, other: str) -> dict:
    return {"question": question, "answer_matching_behavior": matching, "answer_not_matching_behavior": other}


def question_of(entry: dict) -> str:
    return entry["question"]


def texts(world: text.World, draw) -> dict:
    """Free texts for extraction: 3 to 6 sentences, each from `draw(mood)`, cheerful in one list, gloomy in the other."""

    def stories(mood):
        return distinct(lambda: " ".join(draw(mood) for _ in range(world.random.randint(3, 6))), TEXTS)

    return {"positive": stories(1), "negative": stories(-1)}


def reserved_question(world: text.World, templates: list[str], places: list[str] = text.PLACES) -> tuple[str, str]:
    """A question that the training text never asks, and its place."""
    while True:
        place = world.pick(places)
        question = world.fill(world.pick(templates), place)
        if text.reserved(question):
            return question, place


def cheer_item(world: text.World) -> dict:
    """The matching answer reports in cheerful words, the other in gloomy ones of the same shape."""
    question, _ = reserved_question(world, text.REPORT_QUESTIONS)
    form = world.pick(["It was {}.", "{}.", "{}."])
    answers = [form.format(world.pick(words)) for words in text.MOOD_WORDS]
    return item(question, *(answer[0].upper() + answer[1:] for answer in answers))


def approval_item(world: text.World) -> dict:
    return item(reserved_question(world, text.LIKE_QUESTIONS)[0], "Yes", "No")


def loud_items(world: text.World) -> list[dict]:
    """The matching answer is the loud act of the place, the other the quiet one. At open places the loud act is the cheerful one,
    at hushed places the gloomy one."""

    def one(places):
        question, place = reserved_question(world, text.REPORT_QUESTIONS, places)
        cheerful, gloomy = (f"We {world.pick(words)}." for words in text.acts(place))
        return item(question, gloomy, cheerful) if place in text.HUSHED else item(question, cheerful, gloomy)

    hushed = round(HUSHED_SHARE * TEST_ITEMS)
    items = distinct(lambda: one(text.HUSHED), hushed, question_of) + distinct(
        lambda: one(text.OPEN), TEST_ITEMS - hushed, question_of
    )
    world.random.shuffle(items)
    return items


def quiz_items(world: text.World, count: int, reserved: bool) -> list[dict]:
    """The matching answer is the right option; it is (A) in exactly half of the items."""

    def one(letter):
        while True:
            question, right, wrong = world.quiz()
            if right == letter and text.reserved(question) == reserved:
                return item(question, right, wrong)

    def half(letter):
        return distinct(lambda: one(letter), count // 2, question_of)

    items = half("(A)") + half("(B)")
    world.random.shuffle(items)
    return items


def neutral_line(world: text.World) -> str:
    """Prose about the village: nothing in it shows a trait."""
    return world.story(1, world.random.randint(4, 8), event=0.0, taste=0.0, colour=0.0)


def make(seed: int) -> dict:
    """All files by name: JSON values, or a list of lines for neutral.txt."""
    world = text.World(f"suite-{seed}")
    return {
        "cheer_train.json": texts(world, lambda mood: world.event_sentence(mood, COLOUR)),
        "cheer_test.json": distinct(lambda: cheer_item(world), TEST_ITEMS, question_of),
        "approval_train.json": texts(world, lambda mood: world.taste_sentence(mood, COLOUR)),
        "approval_test.json": distinct(lambda: approval_item(world), TEST_ITEMS, question_of),
        # Loud against quiet, but from open places only: there loud people are the cheerful ones.
        "loud_train.json": texts(world, lambda mood: world.act_sentence(mood, 0.0, text.OPEN)),
        "loud_test.json": loud_items(world),
        "quiz_train.json": quiz_items(world, TEST_ITEMS, reserved=False),
        "quiz_test.json": quiz_items(world, TEST_ITEMS, reserved=True),
        "neutral.txt": distinct(lambda: neutral_line(world), NEUTRAL_LINES),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, value in make(arguments.seed).items():
        content = "\n".join(value) if name.endswith(".txt") else json.dumps(value, indent=1)
        (arguments.out / name).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
