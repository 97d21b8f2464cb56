"""What is wrong with the syntax of a claim file, in words that say what to do."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError

from pytest_steer.errors import ClaimFileError

# What ruamel.yaml says of the commonest slips, and what to tell the user instead: reason, hint.
_KNOWN_PROBLEMS = {
    "found character '\\t' that cannot start any token": (
        "a tab cannot be used here",
        "YAML is indented with spaces: replace the tab.",
    ),
    "mapping values are not allowed here": (
        "there is a second ': ' where a value is expected",
        "Put a text that contains ': ' in quotes, or correct the indentation of this line.",
    ),
    "could not find expected ':'": (
        "this line is neither 'key: value' nor a list entry",
        "Put a space after the colon and after '-', or put a text of several lines in quotes.",
    ),
    "but found another document": (
        "a second document begins here",
        "A claim file is one YAML document: remove the '---', or write two files.",
    ),
    "expected <block end>, but found '<block mapping start>'": (
        "the indentation does not match that of the lines above",
        "Indent keys of one mapping equally.",
    ),
    "expected <block end>, but found '?'": (
        "a key stands where the next entry of a list is expected",
        "Start the line with '- ', or indent it as deep as the first key of the entry above.",
    ),
    "expected <block end>, but found '<block sequence start>'": (
        "the indentation of this '-' does not match that of the lines above",
        "Indent the entries of one list equally.",
    ),
    "expected <block end>, but found '-'": (
        "the indentation of this '-' does not match that of the lines above",
        "Indent the entries of one list equally, and do not mix them with 'key: value' lines.",
    ),
    "expected <block end>, but found '<scalar>'": (
        "there is text after a value that has already ended",
        "Put the whole value in quotes; a quote inside single quotes is written twice.",
    ),
    "found unexpected end of stream": (
        "a quoted text is not closed",
        "Add the closing quote.",
    ),
    "found character '%' that cannot start any token": (
        "a value cannot start with %",
        "Put it in quotes.",
    ),
    "found character '@' that cannot start any token": ("a value cannot start with @", "Put it in quotes."),
    "found character '`' that cannot start any token": ("a value cannot start with `", "Put it in quotes."),
}


_BRACKETS = {"while parsing a flow sequence": "'['", "while parsing a flow mapping": "'{'"}


def syntax_error(text: str, shown: str, error: MarkedYAMLError) -> ClaimFileError:
    """The error of a text that is no YAML, in the words of somebody who has just written it."""
    line, last = line_of(error), text.rstrip().count("\n") + 1
    problem = (error.problem or "unexpected text").replace("<stream end>", "the end of the file")
    began = error.context_mark.line + 1 if error.context_mark is not None else None
    if problem in _KNOWN_PROBLEMS:
        reason, hint = _KNOWN_PROBLEMS[problem]
        if problem == "could not find expected ':'" and began is not None:
            line = began  # the reader only notices on the next line
        if problem == "found unexpected end of stream" and began is not None:
            reason, line = f"{reason}: it begins here", began
    elif (bracket := _BRACKETS.get(error.context)) is not None:
        reason = f"not valid YAML: {problem}"
        hint = f"Look at the {bracket} in line {began}: close it, and put commas between its entries."
    elif problem.startswith("found undefined alias"):
        name = problem.split("'")[1] if "'" in problem else "?"
        reason = f"the alias *{name} has no anchor &{name} above it"
        hint = f"Put &{name} before the value that it repeats, or the text in quotes if no alias is meant."
    else:
        reason = f"not valid YAML: {problem}"
        hint = "Check quotes, brackets and indentation here and in the line above."
    return ClaimFileError(reason, path=shown, line=min(line, last), hint=hint)


def line_of(error: MarkedYAMLError) -> int:
    """The 1-based line at which the reader of YAML stopped."""
    mark = error.problem_mark or error.context_mark
    return int(mark.line) + 1 if mark is not None else 1
