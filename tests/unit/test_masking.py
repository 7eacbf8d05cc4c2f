"""What is left of Plivo's text before it is answered, stored or logged."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_transfer.masking import LONGEST_TEXT, inert, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to is a mandatory param.", "to is a mandatory param."),
        ("no 123456", "no 123456"),
        ("no 1234567.", "no *******."),
        ("+14152225555", "+***********"),
        ("%2B14152225555", "%2B***********"),
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "*******"),
        ("sip:agent7@phone.plivo.com is busy", "sip:***@phone.plivo.com is busy"),
        ("SIPS:a.b+c@host", "SIPS:***@host"),
        ("sip%3Aagent7%40phone.plivo.com", "sip%3A***%40phone.plivo.com"),
        ("8c77b816-d621-4028-afc8-1aeab1d497a8", "8c77b816-d621-4028-afc8-1aeab1d497a8"),
    ],
)
def test_numbers_and_sip_users_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("private", "text", "shown"),
    [
        ("sip:desk@host.example", "endpoint desk of host.example", "endpoint *** of host.example"),
        ("sip:desk@host.example", "SIP:DESK@HOST.EXAMPLE?", "***?"),
        ("sip:desk@host.example", "sip%3Adesk%40host", "sip%3A***%40host"),
        ("sip:a@host.example", "a bad address: a", "*** bad address: ***"),
        ("tok.n", "tok.n tokxn", "*** tokxn"),
        ("", "text", "text"),
    ],
)
def test_private_values_are_masked_in_every_form(private: str, text: str, shown: str) -> None:
    assert masked(text, private) == shown


def test_a_text_is_one_line_of_bounded_length() -> None:
    assert masked("a\r\nb\x00c\x1b[31m\u2028\u202ed\ud800") == "a  b c [31m  d "
    assert len(masked("x" * 10_000)) == LONGEST_TEXT


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    began = time.process_time()
    masked("sip:" * 16_000, "sip:sip@host")
    masked("1" * 64_000, "+14152225555")

    assert time.process_time() - began < 1


@given(st.text())
def test_what_is_shown_prints_and_has_no_long_number(text: str) -> None:
    shown = masked(text + "0123456789" + text)

    assert shown.isprintable()
    assert "0123456789" not in shown
    assert len(inert(text)) == len(text)
