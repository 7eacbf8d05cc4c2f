"""How Plivo's text is masked before it is returned, stored or logged."""

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
    ],
)
def test_numbers_and_sip_users_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+1 415-222-5555 is busy", "+* ***-***-**** is busy"),
        ("(415) 555-0123", "(***) ***-****"),
        ("+1 (415) 555-0123", "+* (***) ***-****"),
        ("415.555.0123", "***.***.****"),
        ("415 - 555 - 0123", "*** - *** - ****"),
        ("tel:+1-415-555-0123", "tel:+*-***-***-****"),
        ("+44 (0)20 7946 0999", "+** (*)** **** ****"),
        ("030/123456", "***/******"),
        ("1+415+555+0123", "*+***+***+****"),
        ("415%20555%200123", "***%*****%******"),
        ("415\xa0555\u202f0123", "*** *** ****"),
        ("415\u200b555\xad0123", "*** *** ****"),
        ("415\u2010555\u20110123", "***\u2010***\u2011****"),
        ("415\u2013555\u22120123", "***\u2013***\u2212****"),
        ("415\uff0d555\uff0e0123", "***\uff0d***\uff0e****"),
        ("\uff08\uff14\uff11\uff15\uff09 555 0123", "\uff08***\uff09 *** ****"),
        ("4 1 5 5 5 5 0", "* * * * * * *"),
        ("415-555-0123:5060", "***-***-****:5060"),
        ("415 555 0123 10:05", "*** *** **** 10:05"),
        ("10:05+14155550123", "10:05+***********"),
        ("415 555 0123 2026-11-25", "*** *** **** 2026-11-25"),
        ("2026-11-25-55", "****-**-**-**"),
        ("+2026-11-25", "+****-**-**"),
        ("15552026-11-25", "********-**-**"),
        ("2026-13-25", "****-**-**"),
    ],
)
def test_a_number_is_masked_however_its_digits_are_grouped(text: str, shown: str) -> None:
    assert masked(text) == shown


UUID = "8c77b816-d621-4028-afc8-1aeab1d497a8"


@pytest.mark.parametrize(
    "text",
    [
        UUID,
        UUID.upper(),
        "14155550-1234-4028-1234-141555501234",
        f"no run {UUID} of 1234 agents",
        f"429 {UUID}",
        "415 555",
        "HTTP 400, 401, 404, 429",
        "404 Not Found (404)",
        '{"code": 1234, "to": 5678}',
        "codes=1234&2345",
        "2020-08-01 09:05:11.846982+00:00",
        "2026-11-25T10:05:33Z",
        "2026-11-25T10:05:33,123456789+0100",
        "at 10:05:33.123456 UTC",
        "Mon, 01 Aug 2026 09:05:11 GMT",
        "Aug 1 2026 09:05",
        "11/25/2026 10:05",
        "(2026-11-25)",
        "it can be maximum 256 characters long.",
    ],
)
def test_uuids_dates_times_and_short_numbers_are_not_masked(text: str) -> None:
    assert masked(text) == text


def test_a_number_beside_a_uuid_is_masked_without_the_uuid() -> None:
    assert masked(f"+1 415 222 5555 {UUID}") == f"+* *** *** **** {UUID}"
    assert masked(f"{UUID} 415 222 5555") == f"{UUID} *** *** ****"


@pytest.mark.parametrize(
    ("private", "text", "shown"),
    [
        ("+14152225555", "no 14152225555", "no ***"),
        ("14152225555", "no +14152225555", "no ***"),
        ("+14152225555", "8c77b816-dead-4028-afc8-a14152225555", "8c77b816-dead-4028-afc8-a***"),
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


def test_a_masked_text_is_one_line_of_bounded_length() -> None:
    assert masked("a\r\nb\x00c\x1b[31m\u2028\u202ed\ud800") == "a  b c [31m  d "
    assert len(masked("x" * 10_000)) == LONGEST_TEXT


@pytest.mark.parametrize(
    "part",
    [
        *("sip:", "1", "1 ", "1    ", "123456     ", "1-1-1-1-1-1 x", " ", "(", "12:34 ", "1/1/20"),
        *("2026-11-25 ", "2026-11-25 10:05:33.123456", "aaaaaaaa-", UUID, UUID[:-1], "%20"),
    ],
)
def test_a_long_hostile_text_is_masked_within_a_second(part: str) -> None:
    began = time.process_time()
    masked(part * (64_000 // len(part)), "sip:sip@host", "+14152225555")

    assert time.process_time() - began < 1


SEPARATED = st.text("0123456789 .-/()+\xa0\u2010\u2011\u2013:,TZ", max_size=40)


@given(st.text() | SEPARATED)
def test_a_masked_text_is_printable_and_has_no_long_number(text: str) -> None:
    shown = masked(text + "0123456789" + text)

    assert shown.isprintable()
    assert "0123456789" not in shown
    assert masked(shown) == shown
    assert len(inert(text)) == len(text)


@given(
    st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=2, max_size=8),
    st.sampled_from([*" .-/+", ") ", " (", " - ", "\xa0", "\u2009", "\u2010", "\u2011", "\u2013"]),
    st.text("abc ", max_size=3),
)
def test_every_digit_of_a_number_in_groups_is_masked(
    groups: list[str], joint: str, around: str
) -> None:
    number = joint.join(groups)
    shown = masked(f"{around}:{number};{around}")
    is_date = len(groups) == 3 and joint in "-/"

    if sum(map(len, groups)) >= 7 and not is_date:
        assert not any(character.isdigit() for character in shown)
    if sum(map(len, groups)) < 7:
        assert shown == f"{around}:{inert(number)};{around}"
