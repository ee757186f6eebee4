"""Texts that others wrote, made fit to be stored, compared and shown."""

import os
import traceback
import unicodedata
from collections.abc import Callable
from typing import Any

LONGEST = 2000  # letters of what an error says; more is not read
LONGEST_TRACE = 12_000  # letters of a traceback; its end is kept
TRACEBACK = "LTBENCH_TRACEBACK"  # the variable that asks for tracebacks; 0 does not


def readable(text: str) -> str:
    """A text as UTF-8 can hold it; bytes of a file's name that are none are taken for Latin-1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(_readable_letter, text))
    return text


def _readable_letter(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python writes a byte that it could not decode
        return chr(ord(letter) - 0xDC00)
    return "\ufffd" if "\ud800" <= letter <= "\udfff" else letter


def composed(text: str) -> str:
    """A text in the one form of all those that look alike (Unicode's NFC)."""
    return unicodedata.normalize("NFC", readable(text))


def line(value: object, says: Callable[[Any], str] = str) -> str:
    """What an object, such as an error, says of itself, in one line."""
    try:
        text = says(value)
    # A stranger's class may raise anything at all where it should say something.
    except BaseException:
        text = "it cannot say what it is"
    text = " ".join(readable(text).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def traced(error: BaseException) -> str:
    """The traceback of an error; empty unless LTBENCH_TRACEBACK asks for it."""
    if os.environ.get(TRACEBACK, "0") in ("", "0"):
        return ""
    try:
        text = "".join(traceback.format_exception(error))
    # A stranger's class may raise anything at all where it should say something.
    except BaseException:
        text = "".join(traceback.format_tb(error.__traceback__)) + line(error)
    return readable(text[-LONGEST_TRACE:]).rstrip()


HIDDEN = {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
"""The kinds of letters that are not seen, or that turn others round."""


def visible(text: str) -> str:
    """A text in which letters that are not seen, or turn others round, are told by their code."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"‹U+{ord(letter):04X}›" if unicodedata.category(letter) in HIDDEN else letter
        for letter in readable(text)
    )
