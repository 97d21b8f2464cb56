"""What is measured: propensity curves, steerability, strata, perplexity, accuracy of tasks, dose. Knows nothing of pytest."""

from .answer_likelihood import AnswerLikelihoods, answer_likelihoods, by_quartile, normalised_changes
from .asking import Array
from .asking_texts import unreached
from .at_cost import AtCost, Deployed, deviation, effects_at, multipliers_at_cost, standardised
from .chance import Reading, chance_warnings, reading_of_questions, reading_of_texts
from .controls import can_have_controls, random_controls
from .kl import Divergence, kl_at_answers, kl_curve, kl_divergence
from .likelihood import Perplexity, as_share, perplexity, perplexity_curves, relative_mean_rise, relative_rise
from .multiple_choice import Capability, PromptForm, ScoredBy, capability
from .propensity import (
    MULTIPLIERS,
    PropensityCurve,
    check_deployed,
    check_dose,
    check_multipliers,
    check_slope_grid,
    curves_in_contexts,
    propensity_curve,
    propensity_curves,
)
from .receipt import NoiseFloor, noise_floor, steering_receipt
from .shown import asked_as_text, asked_record, asked_texts, marked_token, shown_line, shown_probe
from .strata import explained, strata, with_label
from .subject import Subject
from .sweep import first_order_slopes, sweep_curves, sweep_perplexity
from .tasks import TaskAccuracy, check_shots, task_accuracies, task_accuracy

__all__ = [
    "MULTIPLIERS",
    "AnswerLikelihoods",
    "Array",
    "AtCost",
    "Capability",
    "Deployed",
    "Divergence",
    "NoiseFloor",
    "Perplexity",
    "PromptForm",
    "PropensityCurve",
    "Reading",
    "ScoredBy",
    "Subject",
    "TaskAccuracy",
    "answer_likelihoods",
    "as_share",
    "asked_as_text",
    "asked_record",
    "asked_texts",
    "by_quartile",
    "can_have_controls",
    "capability",
    "chance_warnings",
    "check_deployed",
    "check_dose",
    "check_multipliers",
    "check_shots",
    "check_slope_grid",
    "curves_in_contexts",
    "deviation",
    "effects_at",
    "explained",
    "first_order_slopes",
    "kl_at_answers",
    "kl_curve",
    "kl_divergence",
    "marked_token",
    "multipliers_at_cost",
    "noise_floor",
    "normalised_changes",
    "perplexity",
    "perplexity_curves",
    "propensity_curve",
    "propensity_curves",
    "random_controls",
    "reading_of_questions",
    "reading_of_texts",
    "relative_mean_rise",
    "relative_rise",
    "shown_line",
    "shown_probe",
    "standardised",
    "steering_receipt",
    "strata",
    "sweep_curves",
    "sweep_perplexity",
    "task_accuracies",
    "task_accuracy",
    "unreached",
    "with_label",
]
