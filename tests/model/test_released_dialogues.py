"""Chat templates of released models, where their folder is there: which take two turns, tools and a transcript with a call, where each turn
ends, and what a template that refuses says. The texts are held against transformers' own rendering."""

from __future__ import annotations

import os
import re
from functools import cache, partial
from pathlib import Path

import plain_chat
import pytest
import transformers

from pytest_steer import Dialogue
from pytest_steer.core.errors import ModelError
from pytest_steer.core.sources import BUILTIN_FOLDER
from pytest_steer.model.model import render_chat
from pytest_steer.prompting import Context, PromptFormat, render_turn
from pytest_steer.prompting.chat import common_prefix

FOLDER = Path(os.environ.get("PYTEST_STEER_CHAT_DATA") or Path(__file__).parents[2].parent / "shared" / "data" / "chat")
MARKERS = re.compile(
    r"<\|[^|<>{}'\"]+\|>|<｜[^｜<>{}'\"]+｜>|\[/?[A-Z_]{3,}\]|</?(?:think|start_of_turn|end_of_turn|user|assistant|system)>|<SPECIAL_\d+>|"
    r"\[e~\[|\]~b\]|</?think:opensource>|</?mm:think>"
)
SEARCH = {
    "name": "search",
    "description": "Search the web.",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for."}},
        "required": ["query"],
    },
}
TWO = Dialogue(("What is red?", "Why is that so?"))
REPLY = "Roses and blood are."
THOUGHT = "<think>\nA secret.\n</think>\n\n"
WITH_TOOLS = Dialogue(("Find the weather in Rome.",), tools=(SEARCH,))
AFTER_A_CALL = Dialogue(
    ("And in Paris?",),
    messages=(
        {"role": "user", "content": "Find the weather in Rome."},
        {"role": "assistant", "tool_calls": [{"name": "search", "arguments": {"query": "weather Rome"}}]},
        {"role": "tool", "content": "It is sunny there."},
        {"role": "assistant", "content": "It is sunny in Rome."},
    ),
    tools=(SEARCH,),
)  # fmt: skip
AFTER_A_RESULT = Dialogue(messages=AFTER_A_CALL.messages[:3], tools=(SEARCH,))

# What stands after the first turn's last character up to its end, what stands between that and the reply, and whether tools and the
# transcript with a call are rendered: "yes", or what is refused.
TABLE = {
    "Apertus-8B-Instruct": ("<|user_end|>", "<|assistant_start|>", "yes", "yes"),
    "Apriel-1.6-15b-Thinker-fixed": ("", "\n<|begin_assistant|>\n", "yes", "yes"),
    "ByteDance-Seed-OSS": ("<seed:eos>", "<seed:bos>assistant\n", "yes", "yes"),
    "Cohere2MoE": (
        "<|END_TEXT|><|END_OF_TURN_TOKEN|>",
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_TEXT|>",
        "yes",
        "yes",
    ),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": (
        "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|START_RESPONSE|>",
        "yes",
        "yes",
    ),
    "GLM-4.6": ("", "<|assistant|>\n<think></think>\n", "yes", "yes"),
    "GigaChat3-10B-A1.8B": ("<|message_sep|>\n\n", "assistant<|role_sep|>\n", "yes", "yes"),
    "GigaChat3.1-10B-A1.8B": ("<|message_sep|>\n\n", "assistant<|role_sep|>\n", "yes", "yes"),
    "Kimi-K2-Instruct": ("<|im_end|>", "<|im_assistant|>assistant<|im_middle|>", "yes", "cannot render"),
    "Kimi-K2-Thinking": ("<|im_end|>", "<|im_assistant|>assistant<|im_middle|><think></think>", "yes", "cannot render"),
    "LFM2-8B-A1B": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "drops a call of a tool"),
    "LFM2.5-8B-A1B": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "MiMo-VL": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "MiniMax-M1": ("<end_of_sentence>\n", "<beginning_of_sentence>ai name=assistant\n", "yes", "yes"),
    "MiniMax-M3": ("[e~[\n", "]~b]ai\n</mm:think>", "yes", "yes"),
    "Mistral-Small-3.2-24B-Instruct-2506": ("[/INST]", "", "yes", "yes"),
    "NVIDIA-Nemotron-Nano-v2": ("\n", "<SPECIAL_11>Assistant\n", "yes", "yes"),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "Qwen-QwQ-32B": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "Qwen-Qwen2.5-7B-Instruct": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "Qwen3-Coder": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "Qwen3.5-4B": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "Spark2.5": ("<｜end▁of▁sentence｜>", "<｜start▁of▁sentence｜><|Bot|></think>", "yes", "yes"),
    "StepFun3.5-Flash": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": (
        "",
        "<｜Assistant｜>",
        "drops the tools: the name of 'search' is not in the rendered prompt",
        "drops the tools: the name of 'search' is not in the rendered prompt",
    ),
    "deepseek-ai-DeepSeek-V3.1": (
        "",
        "<｜Assistant｜><think></think>",
        "drops the tools: the name of 'search' is not in the rendered prompt",
        "drops the tools: the name of 'search' is not in the rendered prompt",
    ),
    "deepseek-ai-DeepSeek-V4-Flash-0731": ("", "<｜Assistant｜></think>", "yes", "yes"),
    "deepseek-ai-DeepSeek-V4": ("", "<｜Assistant｜></think>", "yes", "yes"),
    "google-gemma-2-2b-it": (
        "<end_of_turn>\n",
        "<start_of_turn>model\n",
        "drops the tools: the name of 'search' is not in the rendered prompt",
        "cannot render",
    ),
    "google-gemma-4-31B-it-interleaved": ("<turn|>\n", "<|turn>model\n", "yes", "yes"),
    "ibm-granite-granite-3.3-2B-Instruct": (
        "<|end_of_text|>\n",
        "<|start_of_role|>assistant<|end_of_role|>",
        "yes",
        "drops a call of a tool",
    ),
    "ibm-granite-granite-4.0": ("<|end_of_text|>\n", "<|start_of_role|>assistant<|end_of_role|>", "yes", "yes"),
    "inclusionai-ling-3.0-flash": ("<|role_end|>", "<role>ASSISTANT</role>\n<think></think>", "yes", "yes"),
    "llama-cpp-deepseek-r1": ("<｜end▁of▁sentence｜>", "<｜Assistant｜>", "cannot render", "cannot render"),
    "llm-jp-llm-jp-4.1-8b-thinking": ("<|end|>", "<|start|>assistant<|channel|>final<|message|>", "yes", "yes"),
    "meetkai-functionary-medium-v3.1": ("<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n", "yes", "yes"),
    "meta-llama-Llama-3.1-8B-Instruct": ("<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n", "yes", "yes"),
    "meta-llama-Llama-3.2-3B-Instruct": ("<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n", "yes", "yes"),
    "microsoft-Phi-3.5-mini-instruct": (
        "<|end|>\n",
        "<|assistant|>\n",
        "drops the tools: the name of 'search' is not in the rendered prompt",
        "drops a call of a tool",
    ),
    "mistralai-Ministral-3-14B-Reasoning-2512": ("[/INST]", "", "yes", "yes"),
    "moonshotai-Kimi-K2": ("<|im_end|>", "<|im_assistant|>assistant<|im_middle|>", "yes", "yes"),
    "muse-glimmer": ("<|eot|>", "<|start|>assistant to=user<|message|>", "yes", "yes"),
    "openbmb-MiniCPM5-1B": ("<|im_end|>\n", "<|im_start|>assistant\n", "yes", "yes"),
    "poolside-Laguna-S-2.1": ("</user>\n", "<assistant><think></think>", "yes", "yes"),
    "poolside-Laguna-XS.2": ("\n</user>\n", "<assistant>\n</think>\n", "yes", "yes"),
    "tencent-Hy3": ("", "<｜hy_Assistant:opensource｜><think:opensource></think:opensource>", "yes", "yes"),
    "unsloth-mistral-Devstral-Small-2507": ("[/INST]", "", "yes", "yes"),
    "upstage-Solar-Open-100B": ("<|end|>", "<|begin|>assistant<|content|>", "yes", "yes"),
}

pytestmark = pytest.mark.skipif(
    not (FOLDER / "templates").is_dir(),
    reason=f"no chat templates of released models in {FOLDER.name}/: set PYTEST_STEER_CHAT_DATA to their folder",
)


@pytest.fixture(autouse=True)
def _day(monkeypatch):
    plain_chat.fix_the_day(monkeypatch)


@cache
def _tokenizer():
    return transformers.AutoTokenizer.from_pretrained(str(next(one for one in BUILTIN_FOLDER.iterdir() if one.is_dir())))


@cache
def _form(template):
    source = (FOLDER / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
    markers = tuple(dict.fromkeys(MARKERS.findall(source)))
    return PromptFormat(template=source, markers=markers, render=partial(render_chat, _tokenizer(), source))


def _plain(template, messages, *, opened=True, **more):
    """transformers' own rendering, by default with the generation prompt; of the forms that templates take, the first that this one takes."""
    for parts in (False, True):
        put = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages] if parts else messages
        for given in (more, {"tools": [], **more}):
            try:
                text = _tokenizer().apply_chat_template(
                    put, chat_template=_form(template).template, tokenize=False, add_generation_prompt=opened, **given
                )
            except Exception:  # templates raise what they like
                continue
            if messages[-1]["content"] in text and "'type': 'text'" not in text:
                return text
    raise AssertionError("transformers cannot render this conversation")


def _outcome(template, dialogue):
    try:
        render_turn(dialogue, (), _form(template))
    except ModelError as error:
        return re.sub(r"^the chat template ", "", str(error).partition(" [")[0])
    return "yes"


def test_every_template_is_in_the_table():
    assert sorted(TABLE) == sorted(path.stem for path in FOLDER.glob("templates/*.jinja"))


@pytest.mark.parametrize("template", TABLE)
def test_two_turns_and_tools(template):
    tail, opening, tools, transcript = TABLE[template]
    found = render_turn(TWO, (REPLY,), _form(template))
    text, (first, last), (reply, end) = found.prompt.text, found.turn_ends, found.replies_at
    assert text[:first].endswith(f"{TWO.turns[0]}{tail}")
    assert text[first:reply] == opening
    assert text[reply:].startswith(REPLY)
    assert (text[last - len(tail) : last], end) == (tail, len(text))
    assert text[:last].endswith(f"{TWO.turns[1]}{tail}")
    alone = render_turn(TWO, (), _form(template))
    assert alone.prompt.text[: alone.turn_ends[0]].endswith(f"{TWO.turns[0]}{tail}")
    said = [*zip(("user", "assistant"), (TWO.turns[0], REPLY), strict=True), ("user", TWO.turns[1])]
    plain = _plain(template, [{"role": role, "content": content} for role, content in said])
    opened = render_turn(TWO, (REPLY,), _form(template), Context(thinking="open"))
    assert opened.prompt.text == plain
    # Closed, it is the same but for a block of thought that is closed or a header, which stand after the turn.
    assert text[:last] == plain[:last] or "enable_thinking" in " ".join(found.prompt.notes)
    assert _outcome(template, WITH_TOOLS) == tools
    assert _outcome(template, AFTER_A_CALL) == transcript


@pytest.mark.parametrize("template", TABLE)
def test_the_first_turn_ends_at_the_same_place_when_a_template_drops_the_thought_of_its_reply(template):
    """Templates of models that think drop earlier thoughts, so the text of the second turn does not go on from that of the first."""
    form = _form(template)
    thought, plain = (render_turn(TWO, (f"{begin}{REPLY}",), form) for begin in (THOUGHT, ""))
    assert thought.turn_ends[0] == plain.turn_ends[0]
    text = thought.prompt.text
    if "A secret." in text:
        assert text[thought.replies_at[0] :].startswith(("A secret", "<think>", "\nA secret"))
    else:
        assert text[: thought.replies_at[0]] == plain.prompt.text[: plain.replies_at[0]]


# One template writes a tool's result otherwise once a reply follows, one its generation prompt unasked: the end is where the texts part.
ENDS_BEFORE = {
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "<|im_end|>",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|START_THINKING|><|END_THINKING|>",
}


@pytest.mark.parametrize("template", TABLE)
def test_a_transcript_that_ends_with_a_result_is_the_templates_own_rendering(template):
    dropped = {
        "microsoft-Phi-3.5-mini-instruct": "drops the tool's result, or cuts it: its text is not in the rendered prompt"
    }
    outcome = _outcome(template, AFTER_A_RESULT)
    assert outcome == dropped.get(template, TABLE[template][3])
    if outcome != "yes":
        return
    found = render_turn(AFTER_A_RESULT, (), _form(template), Context(thinking="open"))
    said = [*AFTER_A_RESULT.messages], {"tools": [*AFTER_A_RESULT.tools]}
    assert found.prompt.text == _plain(template, said[0], **said[1])
    (end,) = found.turn_ends
    shared = common_prefix(_plain(template, said[0], opened=False, **said[1]), found.prompt.text)
    assert found.prompt.text[:shared] == found.prompt.text[:end] + ENDS_BEFORE.get(template, "")
    closed = render_turn(AFTER_A_RESULT, (), _form(template))
    assert closed.prompt.turn == found.prompt.turn or template in ENDS_BEFORE


def test_the_tools_reach_the_text_as_their_template_writes_them():
    text = render_turn(WITH_TOOLS, (), _form("Qwen-Qwen2.5-7B-Instruct")).prompt.text
    assert text == _plain(
        "Qwen-Qwen2.5-7B-Instruct", [{"role": "user", "content": WITH_TOOLS.turns[0]}], tools=list(WITH_TOOLS.tools)
    )
    assert text.count('"name": "search"') == 1
