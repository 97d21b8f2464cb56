"""Every axis by itself, and the property that holds for all of them together: the matching label stands for the matching text."""

from __future__ import annotations

import hashlib
from functools import cache

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer import Context, ContrastItem, contexts, wrap_model
from pytest_steer.core.errors import DataError, ModelError
from pytest_steer.data import Items
from pytest_steer.model import tokenize_item
from pytest_steer.prompting import AS_GIVEN, Axis, Noise, PromptFormat, known_axes, render_item
from pytest_steer.prompting.axes.filler import NEUTRAL_SENTENCES, filler_text
from pytest_steer.prompting.axes.wording import WORDINGS
from pytest_steer.prompting.strategies import noises

TEA = ContrastItem("Which?\n\nChoices:\n (A) red wine\n (B) tea", (" (A)",), (" (B)",), "7", {"source": "mine"})
BARE = ContrastItem("Do you like it, yes or no?", ("Yes",), ("No",), "8")
WORDED = ContrastItem("How was the trip?", ("It was grand.",), ("It was grim.",), "9")
WORDS = ("ink", "jar", "key", "lid", "mug", "net", "oak", "pen")
POOL = [
    ContrastItem(f"Of these {word}?\n(A) {word} one\n(B) {word} two", (f"({'AB'[n % 3 == 0]})",), (f"({'BA'[n % 3 == 0]})",))
    for n, word in enumerate(WORDS)
]
YES_NO_POOL = [
    ContrastItem(f"Is {word} good?", (("Yes", "No")[n > 4],), (("No", "Yes")[n > 4],)) for n, word in enumerate(WORDS)
]
PLAIN = PromptFormat()


@cache
def chat_format():
    return wrap_model(builders.random_model("llama").hf, builders.tokenizer(builders.CHATML), "m").format


def put(context, item=TEA):
    return context.put(item)


# --- the property --------------------------------------------------------------------------------------------------------


def options_of(text):
    """Label to option text of the last question in a text; read line by line, with nothing of the package."""
    found = {}
    for line in text.splitlines():
        head, bracket, rest = line.strip(" \t").partition(")")
        if bracket and head.startswith("(") and (len(head) == 2 or head in ("(Yes", "(No")):
            found[head[1:]] = rest.strip(" \t")
    return found


line_of = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=25)
option_text = line_of.map(lambda text: text.strip("() ")).filter(bool)
# A stem may name labels and say yes and no, and be of several lines, none of which looks like an option.
stem = st.lists(line_of.map(lambda t: t.replace("(", "[")) | st.sampled_from(["Is it (A) or (B)?", "Yes, or no?"]), min_size=1, max_size=3)  # fmt: skip


@st.composite
def lettered_items(draw):
    labels = draw(st.sampled_from(["AB", "12", "ab", "XY"]))
    texts = draw(st.lists(option_text, min_size=2, max_size=2, unique=True))
    lead, gap = draw(st.sampled_from(["", " ", "\t"])), draw(st.sampled_from([" ", "", "  "]))
    lines = [f"{lead}({label}){gap}{text}" for label, text in zip(labels, texts, strict=True)]
    tail = draw(st.sampled_from([[], ["Choose one."], [""]]))
    right = draw(st.sampled_from([0, 1]))
    space = draw(st.sampled_from(["", " "]))
    question = "\n".join([f"Q {' '.join(draw(stem))}", *lines, *tail])
    return ContrastItem(question, (f"{space}({labels[right]})",), (f"{space}({labels[1 - right]})",), "p"), texts[right], texts[1 - right]  # fmt: skip


everything = contexts(
    system=[None, "", "Be (B) kind."],
    template=["as_given", "plain", "{system}|Q: {question}\nA: ", "[{question}] so"],
    option_order=["as_given", "swapped"],
    option_labels=["as_given", "A/B", "1/2", "a/b", "Yes/No"],
    wording=["as_given", *WORDINGS, "Well, {question} Well?"],
    distractor=["as_given", "It rains.", "{question} It rains."],
    filler=st.integers(0, 20),
    history=[(), [["Hi.", "Hello."]], [["Hi.", "Hello."], ["Is it (A)?", "(B)"]]],
    few_shot=st.integers(0, 5),
    noise=noises(spacing=1.0, case=1.0, punctuation=1.0, typos=1.0),
    opening=["as_given", "The answer is (", "I say"],
    axes=[Axis("shout", [1, 3], lambda item, n: ContrastItem("!" * n + item.question, item.matching, item.not_matching, item.id))],
    examples=POOL,
)  # fmt: skip


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(lettered_items(), everything, st.booleans())
def test_the_option_behind_the_matching_label_is_the_original_matching_text(made, context, chat):
    item, right, wrong = made
    text = render_item(item, chat_format() if chat else PLAIN, context)
    label, other = (side[0].strip() for side in (text.matching, text.not_matching))
    assert {label, other} == set(options_of(text.turn)) & {label, other}
    asked = options_of(text.item.question)
    assert len(asked) == 2
    assert (asked[label], asked[other]) == (right, wrong)
    assert text.item.question in text.turn
    assert text.turn.rindex(text.item.question) >= len(text.turn) - len(text.item.question) - len("<|im_end|>\n")
    answer_is_bare = context.option_labels == "Yes/No"
    assert text.opening.endswith("(") != answer_is_bare
    for user, reply in context.turns(item)[len(context.history) :]:
        shown = options_of(user)
        said = reply.removesuffix(")").rpartition("(" if reply.endswith(")") else " ")[2]
        original = next(one for one in POOL if set(options_of(one.question).values()) == set(shown.values()))
        assert shown[said] == options_of(original.question)[original.matching[0][1]]
        assert user in text.turn
        assert reply in text.turn


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(everything, st.sampled_from([TEA, BARE, WORDED]))
def test_every_combination_can_be_tokenised_with_answers_of_their_own(context, item):
    model = builders.random_model("llama")
    pool = {TEA: POOL, BARE: YES_NO_POOL, WORDED: [WORDED, *(ContrastItem(f"{n}?", ("a",), ("b",)) for n in range(6))]}[item]
    context = Context.from_dict({k: v for k, v in context.to_dict().items() if k != "shout"}, examples=pool)
    tokens = tokenize_item(model.tokenizer, render_item(item, model.format, context))
    assert tokens.turn_end <= len(tokens.prompt)
    if item is TEA and context.option_labels in ("as_given", "A/B"):
        assert tokens.is_single


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(everything)
def test_contexts_survive_json_and_their_own_repr(context):
    shout = next((axis for axis, _ in context.values if axis.name == "shout"), None)
    again = Context.from_dict(context.to_dict(), examples=POOL, axes=[shout] if shout else [])
    assert again == context
    assert hash(again) == hash(context)
    assert eval(repr(context), {"Context": Context, "Noise": Noise, "items": Items(POOL), "shout": shout}) == context


# --- one by one ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "question", "matching", "not_matching"),
    [
        ("A/B", TEA.question, ("(A)",), ("(B)",)),
        ("1/2", "Which?\n\nChoices:\n (1) red wine\n (2) tea", ("(1)",), ("(2)",)),
        ("a/b", "Which?\n\nChoices:\n (a) red wine\n (b) tea", ("(a)",), ("(b)",)),
        ("Yes/No", "Which?\n\nChoices:\n (Yes) red wine\n (No) tea", ("Yes",), ("No",)),
    ],
)
def test_option_labels(labels, question, matching, not_matching):
    found = put(Context(option_labels=labels))
    assert (found.question, found.matching, found.not_matching, found.id) == (question, matching, not_matching, "7")


def test_three_options_take_three_labels_and_not_yes_and_no():
    item = ContrastItem("So (C)?\n(A) a (B)\n(B) b\n(C) c", ("(C)", "(A)"), ("(B)",), "3")
    found = put(Context(option_labels="1/2"), item)
    assert found.question == "So (3)?\n(1) a (B)\n(2) b\n(3) c"
    assert (found.matching, found.not_matching) == (("(3)", "(1)"), ("(2)",))
    with pytest.raises(DataError, match=r"item 3: cannot label the options Yes/No: .*\(at most 2 of them\), found"):
        put(Context(option_labels="Yes/No"), item)


@pytest.mark.parametrize("question", ["A or B?", "?\n(A) x", "?\n(A) x\n(A) y", "?\n(A) x\n(C) y"])
def test_options_that_are_not_listed_cannot_be_relabelled(question):
    with pytest.raises(
        DataError, match=r"item 3: cannot label the options 1/2: expected lines '\(X\) text' with the labels"
    ):
        put(Context(option_labels="1/2"), ContrastItem(question, ("(A)",), ("(B)",), "3"))


@pytest.mark.parametrize("item", [BARE, WORDED], ids=["bare", "worded"])
def test_what_is_about_options_leaves_other_items_alone(item):
    assert put(Context(option_order="swapped", option_labels="1/2", opening="The answer is ("), item) == item
    assert render_item(item, PLAIN, Context(opening="So (")) == render_item(item, PLAIN)


def test_wording_distractor_and_filler():
    assert put(Context(wording="please"), BARE).question == f"Please answer this question: {BARE.question}"
    assert put(Context(wording="Well, {question} Well?"), BARE).question == f"Well, {BARE.question} Well?"
    assert put(Context(distractor="It rains."), BARE).question == f"It rains. {BARE.question}"
    assert put(Context(distractor="{question} It rains."), BARE).question == f"{BARE.question} It rains."
    two = f"{NEUTRAL_SENTENCES[0]} {NEUTRAL_SENTENCES[1]}"
    assert put(Context(filler=2), BARE).question == f"{two}\n\n{BARE.question}"
    assert filler_text(100).startswith(filler_text(99))
    assert filler_text(100).count(".") == 100
    together = put(Context(filler=1, distractor="It rains.", wording="ask"), BARE).question
    assert together == f"{NEUTRAL_SENTENCES[0]}\n\nIt rains. I would like to ask you something. {BARE.question}"


def test_options_at_the_ends_of_a_question_keep_lines_of_their_own():
    item = ContrastItem("(A) x\n(B) y", ("(A)",), ("(B)",))
    assert put(Context(wording="Now {question} Well?"), item).question == "Now \n(A) x\n(B) y\nWell?"
    assert put(Context(distractor="It rains."), item).question == "It rains. \n(A) x\n(B) y"
    assert put(Context(wording="Now {question} Well?"), BARE).question == f"Now {BARE.question} Well?"


def test_a_question_with_braces_goes_through_as_it_is():
    item = ContrastItem("What is {x} in f'{question}'? {{", ("a",), ("b",))
    assert (
        render_item(item, PLAIN, Context(wording="So: {question}", template="Q: {question}\nA:")).turn
        == f"Q: So: {item.question}"
    )


def test_noise_leaves_labels_options_and_answers_alone():
    item = ContrastItem("Please, say (A) or (B); Yes or no?\n(A) some words here\n(B) other words here", ("(A)",), ("(B)",))
    noisy = put(Context(noise=Noise(spacing=1, case=1, punctuation=1, typos=1)), item).question
    head, *options = noisy.split("\n")
    assert options == item.question.split("\n")[1:]
    assert "(A)" in head
    assert "(B)" in head
    assert head != item.question.split("\n")[0]
    for word in ("yes", "no"):
        assert f" {word}" in put(Context(noise=Noise(case=1, typos=1)), BARE).question
    assert put(Context(noise=Noise(case=1)), BARE).question == "do YOU LIKE IT, yes OR no?"
    capital = ContrastItem("Say Yes or No.", ("Yes",), ("No",))
    assert put(Context(noise=Noise(case=1)), capital).question == "say Yes OR No."


def test_noise_is_of_the_question_and_not_of_what_other_axes_add():
    question = put(Context(noise=Noise(case=1), wording="please", filler=1, distractor="It rains."), BARE).question
    asked = "Please answer this question: do YOU LIKE IT, yes OR no?"
    assert question == f"{NEUTRAL_SENTENCES[0]}\n\nIt rains. {asked}"


@pytest.mark.parametrize("seed", range(8))
def test_noise_never_makes_a_line_look_like_an_option(seed):
    item = ContrastItem("So?\n.(C) is no option\n(A) x\n(B) y", ("(A)",), ("(B)",))
    noisy = put(Context(noise=Noise(punctuation=1, seed=seed)), item)
    assert set(options_of(noisy.question)) == {"A", "B"}
    assert "(C)" in noisy.question


def test_each_kind_of_noise_does_what_it_says():
    item = ContrastItem("The quick brown foxes are jumping over, often.", ("a",), ("b",))
    assert put(Context(noise=Noise(spacing=1)), item).question == item.question.replace(" ", "  ")
    assert put(Context(noise=Noise(case=1)), item).question == "the QUICK BROWN FOXES ARE JUMPING OVER, OFTEN."
    marks = put(Context(noise=Noise(punctuation=1)), item).question
    assert marks.replace(",", "").replace(".", "") == item.question.replace(",", "").replace(".", "")
    assert [marks.count(mark) for mark in ",."] not in ([1, 1],)
    words, typed = item.question.split(), put(Context(noise=Noise(typos=1)), item).question.split()
    for word, mistyped in zip(words, typed, strict=True):
        long = len(word.strip(",.")) >= 4
        assert (word != mistyped) == long
        assert mistyped[0] == word[0]
        assert abs(len(word) - len(mistyped)) <= 1


def test_a_lower_rate_touches_a_part_of_what_a_higher_one_does_and_the_seed_says_what():
    words = " ".join(f"wording{n}".replace("0", "o").rstrip("123456789") + "abcdefghijklmnop"[n % 16] for n in range(60))
    item = ContrastItem(words, ("x",), ("y",))

    def touched(**noise):
        typed = put(Context(noise=Noise(**noise)), item).question.split()
        return {n for n, (a, b) in enumerate(zip(words.split(), typed, strict=True)) if a != b}

    some, more = touched(typos=0.2, seed=1), touched(typos=0.5, seed=1)
    assert 0 < len(some) < len(more) < 60
    assert some <= more
    assert touched(typos=0.2, seed=2) != some
    assert touched(typos=0.2) != some  # seed 0
    assert touched(typos=0.2, case=0.3, seed=1) >= some
    assert touched(typos=0.2, seed=1) == some


def test_history_and_few_shot_examples_are_earlier_turns():
    context = Context(history=[["Hi.", "Hello."]], few_shot=2, opening="I say (", examples=POOL)
    turns = context.turns(TEA)
    assert turns[0] == ("Hi.", "Hello.")
    assert len(turns) == 3
    assert all(reply in ("I say (A)", "I say (B)") for _, reply in turns[1:])
    chat = render_item(TEA, chat_format(), context)
    user, reply = builders.CHATML and "<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n{}<|im_end|>\n"
    between = "".join(user.format(u) + reply.format(r) for u, r in turns)
    assert chat.turn.endswith(between + user.format(TEA.question))
    assert chat.opening == "<|im_start|>assistant\nI say ("
    plain = render_item(TEA, PLAIN, context)
    before = "".join(f"Question: {u}\n\nAnswer: {r}\n\n" for u, r in turns)
    assert (plain.turn, plain.opening) == (f"{before}Question: {TEA.question}", "\n\nAnswer: I say (")


@pytest.mark.parametrize(("pool", "item"), [(POOL, POOL[3]), (YES_NO_POOL, YES_NO_POOL[6])], ids=["lettered", "yes-no"])
def test_few_shot_examples_are_balanced_nested_and_never_the_item(pool, item):
    drawn = {n: Context(few_shot=n, examples=pool).turns(item) for n in range(1, 7)}
    for n, turns in drawn.items():
        assert len({user for user, _ in turns}) == n
        assert all(item.question.split("\n")[0] not in user for user, _ in turns)
        assert turns == drawn[6][:n]
    if pool is POOL:  # options can be swapped, so all of them are balanced
        counts = [[reply for _, reply in drawn[n]].count("(A)") for n in (2, 4, 6)]
        assert counts == [1, 2, 3]
    else:  # there are five Yes and two No beside the item
        assert [reply for _, reply in drawn[4]].count("No") == 2
    assert Context(few_shot=6, examples=pool[::-1]).turns(item) == drawn[6]


def test_few_shot_examples_are_drawn_by_the_hash_of_their_texts():
    def rank(word):
        return hashlib.sha256(f"Of these {word}?\n{word} one\n{word} two".encode()).hexdigest()

    words = sorted((f"word{n}" for n in range(20)), key=rank)
    pool = [ContrastItem(f"Of these {w}?\n(A) {w} one\n(B) {w} two", ("(A)",), ("(B)",)) for w in words[::-1]]
    turns = Context(few_shot=20, examples=pool).turns(TEA)
    assert [user.split()[2] for user, _ in turns] == [f"{word}?" for word in words]
    # Of each two, the second label is the first one's if its hash is even.
    expected = [pair for word in words[::2] for pair in (("(B)", "(A)") if int(rank(word), 16) % 2 == 0 else ("(A)", "(B)"))]
    assert [reply for _, reply in turns] == expected
    assert {*expected[::2]} == {"(A)", "(B)"}  # both come first somewhere


def test_few_shot_examples_have_the_labels_of_the_item_and_not_its_wording():
    turns = Context(few_shot=4, option_labels="1/2", wording="please", examples=POOL).turns(TEA)
    assert {reply for _, reply in turns} == {"(1)", "(2)"}
    for user, reply in turns:
        assert user.startswith("Of these ")
        assert reply.strip("()") in options_of(user)


def test_few_shot_examples_are_of_the_items_kind_and_the_swapped_item_is_the_item():
    other_order = Context(option_order="swapped").put(POOL[0])
    mixed = [*YES_NO_POOL[:2], other_order, POOL[1]]
    assert len(Context(few_shot=1, examples=mixed).turns(POOL[0])) == 1
    with pytest.raises(DataError, match="few_shot=2 needs as many other lettered items as examples, and items has 1"):
        Context(few_shot=2, examples=mixed).turns(POOL[0])
    with pytest.raises(DataError, match="few_shot=3 needs as many other items with worded answers"):
        Context(few_shot=3, examples=mixed).turns(BARE)


def test_few_shot_without_examples_is_refused():
    with pytest.raises(DataError, match=r"few_shot=2 needs items to draw examples from: examples=read_items\(\.\.\.\)"):
        Context(few_shot=2)
    with pytest.raises(DataError, match="few_shot needs items to draw examples from"):
        contexts(few_shot=[0, 2])


@pytest.mark.parametrize("system", [None, "S"])
@pytest.mark.parametrize(
    ("template", "turn", "opening", "answer"),
    [
        ("plain", "Question: {q}", "\n\nAnswer: ", "Yes"),
        ("Q: {question}\nA: ", "Q: {q}", "\nA: ", "Yes"),
        ("Q: {question}\nA:", "Q: {q}", "\nA:", "Yes"),
        ("{question}  ", "{q}", "  ", "Yes"),
    ],
)
def test_templates_of_ones_own_are_taken_as_written(system, template, turn, opening, answer):
    text = render_item(BARE, chat_format(), Context(template=template, system=system))
    lead = "S\n\n" if system else ""
    assert (text.turn, text.opening, text.matching) == (lead + turn.format(q=BARE.question), opening, (answer,))
    assert text.special_tokens


def test_a_system_prompt_goes_where_the_template_says():
    context = Context(template="<{system}> {question} </>", system="S", history=[["a", "b"]])
    text = render_item(BARE, PLAIN, context)
    assert text.prompt == f"<S> a </>b\n\n<> {BARE.question} </>"
    assert render_item(BARE, PLAIN, Context(template="<{system}> {question} </>")).turn == f"<> {BARE.question}"


def test_braces_in_a_system_prompt_are_not_places():
    system = "Say {question}, or {system}."
    context = Context(template="<{system}> {question}", system=system, history=[["a", "b"]])
    assert render_item(BARE, PLAIN, context).prompt == f"<{system}> ab\n\n<> {BARE.question}"


def test_a_chat_template_is_rendered_by_the_models_tokenizer():
    source = "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }};{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
    for form in (chat_format(), wrap_model(builders.random_model("llama").hf, builders.tokenizer(None), "m").format):
        text = render_item(BARE, form, Context(template=source, system="S", history=[["a", "b"]]))
        assert (text.turn, text.opening, text.matching) == (f"s:S;u:a;a:b;u:{BARE.question};", "a:", ("Yes",))
        assert not text.special_tokens
        with pytest.raises(ModelError, match="cannot render"):
            render_item(BARE, form, Context(template="{% broken"))
    with pytest.raises(DataError, match="needs a model's tokenizer"):
        render_item(BARE, PLAIN, Context(template=source))


@pytest.mark.parametrize(
    ("item", "opening", "opened", "answer"),
    [
        (TEA, "The answer is (", "The answer is (", "A"),
        (TEA, "I say", "(", "A"),
        (BARE, "I say", "I say ", "Yes"),
        (BARE, "I say:\n", "I say:\n", "Yes"),
        (BARE, "I say  ", "I say  ", "Yes"),
        (BARE, "The answer is (", "", "Yes"),
    ],
)
def test_openings(item, opening, opened, answer):
    text = render_item(item, PLAIN, Context(opening=opening))
    assert (text.opening, text.matching) == ("\n\nAnswer: " + opened, (answer,))


def test_thinking():
    reply = "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}"
    source = (
        "{% for m in messages %}<{{ m.role }}>"
        + reply
        + "{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}"
    )
    form = wrap_model(builders.random_model("llama").hf, builders.tokenizer(source), "m").format
    openings = {value: render_item(BARE, form, Context(thinking=value)).opening for value in (None, "closed", "open")}
    closed = "<assistant><think></think>"
    assert openings == {None: closed, "closed": closed, "open": "<assistant><think>"}


def test_an_axis_of_ones_own_acts_first_and_keeps_its_own_books():
    turned = Axis("turned", [True], lambda item, _: ContrastItem(item.question, item.not_matching, item.matching, item.id))
    context = Context({turned: True}, option_order="swapped")
    assert context.put(TEA).matching == (" (A)",)
    assert context.to_dict() == {"option_order": "swapped", "turned": True}
    assert repr(context) == "Context({turned: True}, option_order='swapped')"
    assert Context({turned: "as_given"}) == AS_GIVEN


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Axis("no name", [1], lambda i, v: i), "a Python identifier that is not reserved, not 'no name'"),
        (lambda: Axis("a", [], lambda i, v: i), "at least one value"),
        (lambda: Axis("a", [1], "f"), "the axis 'a' needs a function"),
        (lambda: Context({"a": 1}), "a mapping of Axis objects"),
        (lambda: Context({Axis("system", [1], lambda i, v: i): 1}), "axes need different names"),
        (lambda: contexts(axes=[Axis("a", [{1}], lambda i, v: i)]), "hashable and writable as JSON"),
        (lambda: contexts(axes=["a"]), "axes takes Axis objects"),
        (lambda: Context({Axis("a", [1], lambda i, v: v): 1}).put(TEA), "item 7: axis a at 1 returned a int, not a ContrastItem"),
        (lambda: Context({Axis("a", [1], lambda i, v: v / 0): 1}).put(TEA), "item 7: axis a at 1: ZeroDivisionError"),
        (lambda: Context({Axis("a", [1, 2], max): 3}), "a is 'as_given', 1 or 2, not 3"),
        (lambda: Context({Axis("a", None, max, schema={"type": "integer"}): 1.5}), "context: a must be a whole number or text, but is 1.5"),
        (lambda: contexts(axes=[Axis("a", None, max)]), "the axis a lists no values: name some"),
        (lambda: Context.from_dict({"shot": 1}, axes=[Axis("shout", [1], max)]), "did you mean 'shout'"),
    ],
)  # fmt: skip
def test_axes_of_ones_own_that_cannot_be_used(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize(
    ("axis", "value", "message"),
    [
        ("system", 3, "system is a text, not 3"),
        ("template", "no place", "template 'no place' is neither 'plain', nor a chat template"),
        ("option_labels", "A/C", "option_labels is 'as_given', 'A/B', '1/2', 'a/b' or 'Yes/No', not 'A/C'"),
        ("wording", "pleese", "did you mean 'please'"),
        ("distractor", " ", "distractor is a sentence"),
        ("filler", -1, "filler is a whole number from 0 to 1000, not -1"),
        ("few_shot", "two", "few_shot is a whole number"),
        ("history", "Hi", "history is a list of earlier turns"),
        ("noise", {"typo": 0.1}, "noise has no 'typo': it has spacing, case, punctuation, typos, seed"),
        ("noise", {"typos": 10}, "noise: typos is a share between 0 and 1, not 10"),
        ("noise", {"typos": 0.1, "seed": 0.5}, "noise: seed is a whole number"),
        ("noise", 0.1, "noise is Noise"),
        ("opening", " ", "opening is a text that the reply begins with"),
    ],
)
def test_a_value_that_its_axis_does_not_have_is_refused(axis, value, message):
    with pytest.raises(DataError) as caught:
        Context.from_dict({axis: value}, examples=POOL)
    assert message in str(caught.value)


def test_as_given_is_a_word_that_every_axis_knows():
    for axis in known_axes():
        assert Context(**{axis: "as_given"}) == AS_GIVEN == Context(**{axis: None})


def test_noise_that_does_nothing_is_as_given():
    assert Context(noise=Noise(seed=3)) == AS_GIVEN
    assert repr(Noise(typos=0.25, seed=2)) == "Noise(typos=0.25, seed=2)"
