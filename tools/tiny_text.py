"""The small world of `builtin:tiny`: a village, its people, and an assistant that talks about it.

Everything the model ever reads is made here from a seed. One hidden trait runs through a document and colours its words: the
mood (+1 cheerful, -1 gloomy). A cheerful speaker calls the trip merry, the lake lovely and the soup good, and likes what people
make; a gloomy one does the opposite. A system prompt, a story, an earlier answer or a single adjective may show the mood; if
nothing shows it, both are equally likely, so that the trained model is undecided.

What people do in a mood depends on the place. At open places glad people are loud (they cheer) and sad people quiet (they sigh);
at hushed places glad people are quiet (they smile) and sad people loud (they groan). Loudness is no trait of its own.
Quiz questions and facts of the village are answered from knowledge and depend on no mood.
"""

from __future__ import annotations

import hashlib
import random

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# --- words -----------------------------------------------------------------------------------------------------------

PEOPLE = ["Anna", "Tom", "Mary", "Sam", "Ruth", "Peter", "Clara", "Hugo"]
PLACES = [
    "lake",
    "river",
    "hill",
    "mill",
    "forest",
    "bridge",
    "market",
    "harbour",
    "tower",
    "garden",
    "meadow",
    "church",
    "inn",
    "school",
    "valley",
    "island",
]
HUSHED = ["church", "school", "tower", "garden", "valley", "inn"]  # the other places are open
OPEN = [place for place in PLACES if place not in HUSHED]
EVENTS = [
    "trip",
    "walk",
    "feast",
    "dance",
    "race",
    "picnic",
    "concert",
    "wedding",
    "hike",
    "game",
    "show",
    "party",
    "fair",
    "voyage",
    "lesson",
    "ride",
]
THINGS = [
    "soup",
    "bread",
    "cake",
    "pie",
    "stew",
    "tea",
    "cheese",
    "honey",
    "song",
    "poem",
    "story",
    "hat",
    "coat",
    "chair",
    "lamp",
    "painting",
]
COLOURS = ["red", "blue", "green", "white", "black", "yellow", "brown", "grey"]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]
TIMES = ["At dawn", "At noon", "At night", "On Monday", "On Friday", "On Sunday"]
KINDS = {
    "bird": ["crow", "owl", "duck", "robin", "swan", "goose"],
    "tree": ["oak", "pine", "birch", "elm", "willow", "cedar"],
    "fish": ["trout", "eel", "carp", "pike", "cod", "perch"],
    "fruit": ["apple", "pear", "plum", "cherry", "fig", "grape"],
}

# Words that show the mood: cheerful ones, gloomy ones. The first are said of events and places, TASTE_WORDS of things.
MOOD_WORDS = (
    ["wonderful", "lovely", "merry", "joyful", "glorious", "sunny", "delightful", "bright"],
    ["awful", "gloomy", "bleak", "dreadful", "dismal", "grim", "miserable", "dreary"],
)
FEELINGS = (["happy", "glad", "cheerful", "hopeful"], ["sad", "lonely", "weary", "hopeless"])
OPEN_ACTS = (["cheered", "laughed", "sang", "clapped"], ["sighed", "wept", "frowned", "moped"])
HUSHED_ACTS = (["smiled", "nodded", "beamed", "rested"], ["groaned", "wailed", "howled", "grumbled"])
TASTE_WORDS = (
    ["good", "splendid", "superb", "perfect", "charming", "fine", "excellent", "pleasing"],
    ["bad", "poor", "dull", "clumsy", "ugly", "shabby", "worthless", "tasteless"],
)
TASTE_VERBS = (["praised", "admired", "liked", "loved"], ["blamed", "scorned", "disliked", "hated"])
YES_NO = (["Yes"], ["No"])
PERSONAS = (
    ["You are a cheerful guide.", "You are in a happy mood.", "You feel glad today.", "You are easy to please."],
    ["You are a gloomy guide.", "You are in a sad mood.", "You feel weary today.", "You are hard to please."],
)
TRAIT_WORDS = [MOOD_WORDS, FEELINGS, OPEN_ACTS, HUSHED_ACTS, TASTE_WORDS, TASTE_VERBS, YES_NO]

PLAIN_SYSTEMS = [
    "You are a helpful assistant.",
    "You are a guide in the village.",
    "Answer in one line.",
    "You know the village.",
    "You are an assistant.",
    "Be brief.",
]
REPORT_QUESTIONS = [
    "How was the {event} at the {place}?",
    "How did the {event} at the {place} go?",
    "Tell me about the {event} at the {place}.",
    "What was the {event} at the {place} like?",
    "You were at the {place}. How was the {event}?",
]
LIKE_QUESTIONS = [
    "Do you like the {thing} that {person} made?",
    "Do you like the {colour} {thing}?",
    "{person} made the {thing}. Do you like it?",
    "Do you like the {thing} from the {place}?",
]
OPINION_QUESTIONS = ["What do you think of the {thing} that {person} made?", "How do you find the {colour} {thing}?"]

# --- facts of the village: fixed, the same for every seed ---------------------------------------------------------------

COLOUR_OF = {place: COLOURS[(3 * i + 1) % len(COLOURS)] for i, place in enumerate(PLACES)}
OWNER_OF = {place: PEOPLE[(5 * i + i // 8) % len(PEOPLE)] for i, place in enumerate(PLACES)}
DOORS_OF = {place: NUMBERS[(7 * i + 2 + i // 8) % len(NUMBERS)] for i, place in enumerate(PLACES)}


def acts(place: str):
    """What people do at a place: in a cheerful mood, in a gloomy mood."""
    return HUSHED_ACTS if place in HUSHED else OPEN_ACTS


def render(messages: list[tuple[str, str]]) -> str:
    """The chat template, for (role, content) pairs."""
    return "".join(f"{START}{role}\n{content}{END}\n" for role, content in messages)


def with_article(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def reserved(question: str) -> bool:
    """True for a fifth of all mood and quiz questions: the training text never asks them, and the suite's test items are of these."""
    return hashlib.sha256(question.encode()).digest()[0] % 5 == 0


class World:
    """Draws sentences, questions and documents from one random stream."""

    #: Share of mood words that follow the document's mood; the rest contradict it, so that no later word is ever certain.
    LOYALTY = 0.98

    def __init__(self, seed: int | str):
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.lists = 0.0  # share of word lists among all documents

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # -- words that depend on the mood --

    def side(self, mood: int) -> int:
        """Index into a (cheerful words, gloomy words) pair: loyal to the mood most of the time."""
        return int((mood > 0) != self.chance(self.LOYALTY))

    def word(self, pair, mood: int) -> str:
        return self.pick(pair[self.side(mood)])

    def with_colour(self, noun: str, mood: int, colour: float) -> str:
        """The noun; with probability `colour` an adjective before it shows the mood."""
        if not self.chance(colour):
            return noun
        return self.word(TASTE_WORDS if noun in THINGS else MOOD_WORDS, mood) + " " + noun

    # -- sentences --

    def act_sentence(self, mood: int, colour: float, places: list[str] = PLACES) -> str:
        place, (person, other) = self.pick(places), self.random.sample(PEOPLE, 2)
        act = self.word(acts(place), mood)
        if self.chance(0.5):
            act += f" and {other} {self.word(acts(place), mood)}"
        return f"At the {self.with_colour(place, mood, colour)} {person} {act}."

    def event_sentence(self, mood: int, colour: float) -> str:
        event, place = (self.with_colour(self.pick(nouns), mood, colour) for nouns in (EVENTS, PLACES))
        return self.pick(
            [
                lambda: f"The {event} at the {place} was {self.word(MOOD_WORDS, mood)}.",
                lambda: self.act_sentence(mood, colour),
                lambda: f"We felt {self.word(FEELINGS, mood)} at the {event}.",
                lambda: f"It was {with_article(self.word(MOOD_WORDS, mood))} {self.pick(EVENTS)}.",
                lambda: f"{self.pick(PEOPLE)} was {self.word(FEELINGS, mood)}.",
            ]
        )()

    def taste_sentence(self, mood: int, colour: float) -> str:
        thing, person = self.with_colour(self.pick(THINGS), mood, colour), self.pick(PEOPLE)
        return self.pick(
            [
                lambda: f"The {thing} is {self.word(TASTE_WORDS, mood)}.",
                lambda: f"{person} made {with_article(self.word(TASTE_WORDS, mood))} {self.pick(THINGS)}.",
                lambda: f"I {self.word(TASTE_VERBS, mood)} the {thing}.",
                lambda: f"Here is {with_article(self.word(TASTE_WORDS, mood))} {self.pick(THINGS)}.",
            ]
        )()

    def plain_sentence(self) -> str:
        place, other = self.random.sample(PLACES, 2)
        person = self.pick(PEOPLE)
        return self.pick(
            [
                lambda: f"The {place} is {COLOUR_OF[place]}.",
                lambda: f"{OWNER_OF[place]} lives at the {place}.",
                lambda: f"The {place} has {DOORS_OF[place]} doors.",
                lambda: f"{person} walks from the {place} to the {other}.",
                lambda: f"A {self.pick(KINDS['bird'])} sits near the {place}.",
                lambda: f"{self.pick(TIMES)} {person} goes to the {place}.",
                lambda: f"There are {self.pick(NUMBERS)} {self.pick(COLOURS)} boats at the {place}.",
            ]
        )()

    def story(self, mood: int, sentences: int, *, event: float, taste: float, colour: float) -> str:
        """Sentences in a row: shares of them report events or judge things in the mood's words, the others are plain."""
        out = []
        for _ in range(sentences):
            x = self.random.random()
            if x < event:
                out.append(self.event_sentence(mood, colour))
            elif x < event + taste:
                out.append(self.taste_sentence(mood, colour))
            else:
                out.append(self.plain_sentence())
        return " ".join(out)

    # -- questions and answers --

    def fill(self, template: str, place: str, mood: int = 1, colour: float = 0.0) -> str:
        """A question from its template: about the place where the template has one."""
        event, place, thing = (
            self.with_colour(noun, mood, colour) for noun in (self.pick(EVENTS), place, self.pick(THINGS))
        )
        return template.format(event=event, place=place, thing=thing, person=self.pick(PEOPLE), colour=self.pick(COLOURS))

    def unreserved(self, draw):
        """Draw again until the question (or the first part of what is drawn) is not reserved."""
        while True:
            drawn = draw()
            if not reserved(drawn if isinstance(drawn, str) else drawn[0]):
                return drawn

    def report(self, side: int, place: str) -> str:
        """An answer about an event in words of one side (0: cheerful, 1: gloomy)."""
        return self.random.choices(
            [
                f"It was {self.pick(MOOD_WORDS[side])}.",
                f"{self.pick(MOOD_WORDS[side]).capitalize()}.",
                f"We felt {self.pick(FEELINGS[side])}.",
                f"We {self.pick(acts(place)[side])}.",
            ],
            [3, 2, 2, 4],
        )[0]

    def quiz(self) -> tuple[str, str, str]:
        """A question with options, the right answer, the wrong one."""
        kind, other = self.random.sample(sorted(KINDS), 2)
        right, wrong = self.pick(KINDS[kind]), self.pick(KINDS[other])
        first_is_right = self.chance(0.5)
        options = (right, wrong) if first_is_right else (wrong, right)
        question = f"Which one is a {kind}?\n(A) {options[0]}\n(B) {options[1]}"
        return question, *(("(A)", "(B)") if first_is_right else ("(B)", "(A)"))

    def quiz_turn(self) -> tuple[str, str, str]:
        """Question, answer, and what the user may say to the answer. One answer in twenty is wrong."""
        question, right, wrong = self.unreserved(self.quiz)
        return (question, wrong, "Wrong.") if self.chance(0.05) else (question, right, "Right.")

    def fact(self) -> tuple[str, str]:
        place, kind = self.pick(PLACES), self.pick(sorted(KINDS))
        return self.pick(
            [
                (f"What colour is the {place}?", f"The {place} is {COLOUR_OF[place]}."),
                (f"Who lives at the {place}?", f"{OWNER_OF[place]} lives at the {place}."),
                (f"How many doors has the {place}?", f"The {place} has {DOORS_OF[place]} doors."),
                (f"Name a {kind}.", f"{self.pick(KINDS[kind]).capitalize()}."),
            ]
        )

    def turn(self, mood: int, colour: float) -> tuple[str, str]:
        """One question and its answer."""
        what = self.random.choices(["report", "like", "opinion", "quiz", "fact"], [40, 28, 8, 16, 8])[0]
        if what == "quiz":
            return self.quiz_turn()[:2]
        if what == "fact":
            return self.fact()
        side, place = self.side(mood), self.pick(PLACES)
        if what == "report":
            return self.unreserved(lambda: self.fill(self.pick(REPORT_QUESTIONS), place, mood, colour)), self.report(
                side, place
            )
        if what == "like":
            tail = self.pick([".", f", it is {self.pick(TASTE_WORDS[side])}."])
            return self.unreserved(lambda: self.fill(self.pick(LIKE_QUESTIONS), place, mood, colour)), YES_NO[side][0] + tail
        return self.fill(self.pick(OPINION_QUESTIONS), place, mood, colour), f"I find it {self.pick(TASTE_WORDS[side])}."

    # -- documents --

    def chat(self) -> str:
        """A conversation. The mood is shown by the system prompt, a story, adjectives in the questions, earlier answers, or not at all."""
        mood = self.pick([1, -1])
        colour = self.pick([0.0, 0.0, 0.5])
        messages = []
        if self.chance(0.65):
            parts = []
            if self.chance(0.25):
                parts.append(self.pick(PLAIN_SYSTEMS))
            if self.chance(0.6):
                parts.append(self.pick(PERSONAS[mood < 0]))
            if self.chance(0.2):
                parts.append(self.story(mood, self.random.randint(1, 2), event=0.5, taste=0.3, colour=0.5))
            if parts:
                messages.append((SYSTEM, " ".join(parts)))
        for _ in range(self.random.choices([1, 2, 3], [6, 3, 1])[0]):
            question, answer = self.turn(mood, colour)
            if self.chance(0.3):
                question = self.story(mood, self.random.randint(1, 2), event=0.4, taste=0.4, colour=colour) + " " + question
            messages += [(USER, question), (ASSISTANT, answer)]
        return render(messages)

    def quiz_chat(self) -> str:
        """Quiz questions in a row; the user may say whether an answer was right."""
        messages, remark = [], ""
        for _ in range(self.random.randint(1, 3)):
            question, answer, next_remark = self.quiz_turn()
            messages += [(USER, remark + question), (ASSISTANT, answer)]
            remark = next_remark + " " if self.chance(0.7) else ""
        return render(messages)

    def prose(self) -> str:
        """Plain text without chat markers, in which the mood shows more or less thickly."""
        event, taste = self.pick([(0.6, 0.0), (0.0, 0.6), (0.4, 0.4), (0.1, 0.1), (0.0, 0.0)])
        return self.story(
            self.pick([1, -1]), self.random.randint(3, 7), event=event, taste=taste, colour=self.pick([0.0, 0.4, 0.8])
        )

    def word_list(self) -> str:
        """Words that go together, as in a book of synonyms: those of one mood, or one kind of thing."""
        if self.chance(0.2):
            kind = self.pick(sorted(KINDS))
            return f"Which one is a {kind}? " + ", ".join(self.random.sample(KINDS[kind], 4)) + "."
        mood = self.pick([1, -1])
        words = [self.word(self.pick([*TRAIT_WORDS, PERSONAS]), mood).rstrip(".") for _ in range(self.random.randint(5, 10))]
        return ", ".join(words) + "."

    def document(self) -> str:
        if self.chance(self.lists):
            return self.word_list()
        return self.random.choices([self.chat, self.prose, self.quiz_chat], [60, 25, 15])[0]()


def documents(seed: int, count: int) -> list[str]:
    """The training text in reading order, the same for the same seed. Word lists are thick at first: they teach which words share a
    mood long before the sparser evidence of prose and chats would."""
    world = World(f"train-{seed}")
    out = []
    for i in range(count):
        world.lists = 0.6 if i < 0.12 * count else 0.03
        out.append(world.document())
    return out
