"""A judge of sentiment: VADER (Hutto and Gilbert 2014), a lexicon with rules, in the package ``vaderSentiment``."""

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

_ANALYZER = SentimentIntensityAnalyzer()


def sentiment(prompt: str, reply: str) -> float:
    """VADER's compound score of a reply, from -1 to 1. From 0.05 on its authors call a text positive."""
    return _ANALYZER.polarity_scores(reply)["compound"]
