"""What claims share: parameters, and the arguments of their assertions."""

from __future__ import annotations

from typing import Annotated, Literal

from ..core.parameters import Param
from ..measures.outcomes import Span
from ..stats.intervals import METHODS, IntervalMethod

Interval = Annotated[
    IntervalMethod,
    Param(
        f"{', '.join(f'{name} {method.about}' for name, method in METHODS.items())}.",
        judges=True,
        title="Interval",
        example="t",
    ),
]
Sequential = Annotated[
    bool | None,
    Param(
        "true draws the items in rounds and stops as soon as the claim is decided; false looks at all of them at once; profile leaves "
        "it to --steer-profile: dev draws in rounds where a bound allows it, ci and nightly do not.",
        judges=True,
        title="Draw items in rounds",
        example=True,
        schema={"enum": [True, False, "profile"], "type": ["boolean", "string"], "default": "profile"},
    ),
]

Controls = Annotated[
    int | Literal["auto"],
    Param(
        "How many random directions of equal norm are measured beside the vector; the report says where it ranks among them. 19 can show "
        "p = 0.05. Each costs as much as the vector, and none decides the verdict. auto: where a claim does not pass and it is not "
        "proven which way its deployed model moves, 19 at the deployed multiplier alone, on at most 32 of its items.",
        judges=True,
        title="Random controls",
        example=19,
        at_least=0,
        at_most=999,
        schema={"type": ["integer", "string"], "pattern": "^auto$"},
    ),
]

WEAK_SHARE = "lets more items move the wrong way than a random direction moves; 25 % is written 0.25"
WEAK_MEAN = (
    "lets propensity fall that far; that a vector does no harm is promised by a threshold a little below 0, such as -0.1"
)

Window = Annotated[
    int | None,
    Param(
        "Texts of more tokens than this are scored in windows of so many, each token once; by default as many as the model takes. Without "
        "`window` and `stride` a text that is longer than the model takes is an error.",
        title="Tokens of a window",
        example=1024,
        unit="tokens",
        at_least=2,
        schema={"type": ["integer", "null"], "default": None},
    ),
]
Stride = Annotated[
    int | None,
    Param(
        "By how many tokens each window of a long text begins later than the one before; by default half a window.",
        title="Stride of windows",
        example=512,
        unit="tokens",
        at_least=1,
        schema={"type": ["integer", "null"], "default": None},
    ),
]


MaxNewTokens = Annotated[
    int,
    Param("A reply of so many tokens is cut there.", title="Longest reply", example=64, unit="tokens", at_least=1),
]
Samples = Annotated[
    int,
    Param(
        "Replies to each prompt. They count as one cluster, since they may agree with each other. More than one need a `temperature`.",
        title="Replies to each prompt",
        example=4,
        at_least=1,
    ),
]
Temperature = Annotated[
    float | None,
    Param(
        "Tokens are drawn at this temperature, seeded; without it the likeliest token is taken (greedy).",
        title="Temperature",
        example=0.7,
        above=0,
        schema={"type": ["number", "null"], "default": None},
    ),
]
TopP = Annotated[
    float,
    Param(
        "Only the likeliest tokens are drawn, up to the first at which their summed probability reaches this.",
        title="Nucleus",
        example=0.9,
        above=0,
        at_most=1,
    ),
]
JudgedSpan = Annotated[
    Span,
    Param(
        "What of a reply is judged: answer is what stands outside of its blocks of thought, thought what stands in them, both is the two.",
        title="Span",
        example="answer",
    ),
]
FromTurn = Annotated[
    int,
    Param(
        "The first turn that is steered; the turns before it are written by the unsteered model. The reply to the last turn is judged.",
        title="First steered turn",
        example=2,
        at_least=1,
        at_most=10,
    ),
]
