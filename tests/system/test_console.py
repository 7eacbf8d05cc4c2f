"""The console of a deployed stack, in headless Chromium.

Skipped without Chromium. CONSOLE_PICTURES=docs writes the screenshots in docs/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, expect, sync_playwright

from cold_transfer.action import ActionName
from local.build import STATE
from local.stack import Stack
from tests.support.console import Served, accepted
from tests.support.serving import serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
MAX_BYTES = 200_000

#: The first answer waits for a cold start; thirty cold starts may share two cores.
PATIENCE_MS = 100_000.0

STEPS = ["claim", "deduplicate", "connect", "mark sending", "POST 201", "settle"]

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium: apt-get install chromium, or CHROMIUM=its path"
    ),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    stack = Stack(parameters={"StageRateLimit": "1000", "StageBurstLimit": "1000"})
    try:
        with warnings.catch_warnings():
            # Popen warns when it is garbage-collected first (see conftest).
            warnings.simplefilter("ignore", ResourceWarning)
            stack.start()
            stack.start_console()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {error.message.splitlines()[0]}")
        yield started
        started.close()


class Console:
    """The page as a person sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.status = page.get_by_role("status")
        self.actions = page.locator("#actions > li")

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def choose(self, **fields: str) -> None:
        for label, value in fields.items():
            self.field(label.replace("entry_point", "entry point")).select_option(value)

    def expect_figures(self, requested: int, sent: int) -> None:
        expect(self.page.locator("#figure-requests")).to_have_text(str(requested))
        expect(self.page.locator("#figure-sent")).to_have_text(str(sent))

    def begin(self) -> None:
        """Put a new call into the form, and reset the figures."""
        before = self.field("trigger_source").input_value()
        self.press("New call")
        expect(self.field("trigger_source")).not_to_have_value(before)
        self.press("Reset counters")
        self.expect_figures(0, 0)


def opened(browser: Browser, url: str, **context: object) -> Page:
    made = browser.new_context(**{"viewport": DESKTOP, **context})  # type: ignore[arg-type]  # typed one by one
    made.set_default_timeout(PATIENCE_MS)
    page = made.new_page()
    page.goto(url)
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator("#client option")).not_to_have_count(0)
    return page


@contextmanager
def without_errors(page: Page) -> Iterator[None]:
    """Assert that the browser reports no error until the context ends."""
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type != "log" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda failed: errors.append(f"{failed.url} {failed.failure}"))
    yield
    # A page that is closed cancels its downloads and its stream.
    expected = ("/api/stream", "net::ERR_ABORTED")
    assert [text for text in errors if not any(part in text for part in expected)] == []


@pytest.fixture
def console(stack: Stack, browser: Browser) -> Iterator[Console]:
    assert stack.console_url is not None
    page = opened(browser, stack.console_url)
    try:
        with without_errors(page):
            yield Console(page)
    finally:
        page.context.close()


def test_the_stacks_description_has_the_consoles_address(stack: Stack) -> None:
    url = stack.description["console_url"]

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)


def test_nothing_is_sent_without_a_click(stack: Stack, console: Console) -> None:
    methods: list[str] = []
    console.page.on("request", lambda request: methods.append(request.method))
    before = len(stack.plivo_received())

    console.page.reload()
    expect(console.page.locator("#curl")).not_to_be_empty()
    console.field("to").fill("+14152227777")
    console.choose(action="hold", entry_point="event")
    expect(console.page.locator("#put-events")).to_contain_text("Hold Requested")

    assert set(methods) == {"GET"}
    assert len(stack.plivo_received()) == before


def test_a_transfer_is_shown_with_its_replays_and_its_one_post(console: Console) -> None:
    console.begin()
    call = console.page.locator("#calls > .calls > li").first
    agent = console.field("trigger_source").input_value()
    colleague = console.field("to").input_value()
    expect(call.get_by_role("listitem")).to_have_text([re.compile("customer"), f"agent{agent}"])

    console.press("Send")

    expect(console.status).to_contain_text("201")
    expect(console.status).to_contain_text("accepted")
    expect(console.status).to_contain_text("Plivo acknowledged it")
    expect(call.locator(".members > li:not(.left-call)")).to_have_text(
        [re.compile("customer"), f"agent{colleague}"]
    )
    expect(call.locator(".left-call")).to_contain_text(agent)
    console.expect_figures(1, 1)
    action = console.actions.first
    expect(action.locator(".body > .steps .step")).to_have_text(STEPS)
    expect(action.locator(".body > .steps .took").first).to_have_text(re.compile(r"^\d+\.\d ms$"))
    record = action.locator(".body > dl")
    expect(record).to_contain_text("accepted")
    expect(action.locator(".body > .posts > li")).to_have_count(1)
    expect(action).to_contain_text("Cold Transfer Accepted")
    expect(console.page.locator(".received")).to_contain_text(colleague)

    console.press("Send again")

    expect(console.status).to_contain_text("replayed")
    expect(console.status).to_contain_text("nothing was sent to Plivo")
    console.expect_figures(2, 1)
    expect(action.locator(".requests .pill")).to_have_text(["first", "replay"])

    console.press("30 at once")

    expect(console.status).to_contain_text("30 \N{MULTIPLICATION SIGN}")
    console.expect_figures(32, 1)
    expect(action.locator(".count").first).to_have_text("requests 32 sent 1")
    expect(action.locator(".requests > li")).to_have_count(6)
    console.page.get_by_role("button", name="26 more").click()
    expect(action.locator(".requests > li")).to_have_count(32)


def test_a_request_is_shown_with_its_raw_answer_and_its_log(console: Console) -> None:
    console.begin()
    console.field("reference").fill("")
    console.press("Send")
    request = console.actions.first.locator(".requests details").first
    request.locator("summary").click()

    expect(request.locator("pre").first).to_contain_text("HTTP 201")
    expect(request.locator("pre").first).to_contain_text('"api_id"')
    expect(request).to_contain_text(console.field("Idempotency-Key").input_value())
    expect(request.locator("pre").last).to_contain_text('"level": "INFO"')


def test_a_double_click_reaches_plivo_once(console: Console) -> None:
    console.begin()
    before = console.actions.count()

    console.press("Double click")

    expect(console.status.locator(".result")).to_have_count(2)
    console.expect_figures(2, 1)
    expect(console.actions).to_have_count(before + 1)
    pills = console.actions.first.locator(".requests .pill")
    expect(pills.filter(has_text="duplicate")).to_have_count(1)
    expect(pills.filter(has_text="first")).to_have_count(1)


def test_a_failure_is_shown_with_what_to_do_about_it(console: Console) -> None:
    console.begin()
    console.choose(failure="500")
    assert console.field("to").input_value() == "+15550100500"

    console.press("Send")

    expect(console.status).to_contain_text("unknown")
    expect(console.status).to_contain_text("Check the call")
    expect(console.actions.first.locator(".pill").first).to_have_text("unknown")
    expect(console.actions.first.locator(".body")).to_contain_text("POST 500")
    console.expect_figures(1, 1)
    call = console.page.locator("#calls > .calls > li").first
    expect(call.locator(".left-call")).to_have_count(0)

    console.press("Send again")

    expect(console.status).to_contain_text("replayed")
    console.expect_figures(2, 1)


def test_an_event_that_fails_is_shown_with_its_dead_letter(stack: Stack, console: Console) -> None:
    console.begin()
    console.choose(entry_point="event", failure="400")

    console.press("Send")

    expect(console.status).to_contain_text("rejected")
    expect(console.status).to_contain_text("dead-letter queue")
    body = console.actions.first.locator(".body")
    expect(body).to_contain_text("In the dead-letter queue")
    expect(body).to_contain_text("Cold Transfer Rejected")
    expect(console.actions.first.locator(".who").first).to_contain_text("event")
    (letter,) = stack.aws("sqs").receive_message(
        QueueUrl=stack.description["dead_letter_queue_url"],
        AttributeNames=["ApproximateReceiveCount"],
        VisibilityTimeout=0,
    )["Messages"]
    assert letter["Attributes"]["ApproximateReceiveCount"] == "1"  # the console never received it


def test_a_refusal_names_what_to_correct(console: Console) -> None:
    console.begin()
    console.field("to").fill("nobody")

    console.press("Send")

    expect(console.status).to_contain_text("422")
    expect(console.status).to_contain_text("to:")
    expect(console.actions.first.locator(".pill").first).to_have_text("refused")
    console.expect_figures(1, 0)


def test_an_action_on_a_member_changes_the_shown_call(console: Console) -> None:
    console.begin()
    call = console.page.locator("#calls > .calls > li").first
    customer = call.locator(".address").first.inner_text()

    console.choose(action="hold")
    assert console.field("member_address").input_value() == customer
    assert not console.field("to").is_visible()
    console.press("Send")

    expect(console.status).to_contain_text("accepted")
    expect(call.locator("li").first).to_contain_text("on hold")
    console.expect_figures(1, 1)
    console.choose(action="unhold")
    console.press("Send")
    expect(call.locator("li").first).not_to_contain_text("on hold")
    console.expect_figures(2, 2)


def test_every_action_can_be_requested(console: Console) -> None:
    assert console.field("action").locator("option").all_inner_texts() == list(ActionName)


def test_actions_are_filtered(console: Console) -> None:
    console.begin()
    console.choose(failure="400")
    console.press("Send")
    expect(console.status).to_contain_text("rejected")
    filters = console.page.get_by_role("form", name="Filter")
    outcome, through, client = (filters.get_by_role("combobox").nth(number) for number in range(3))

    outcome.select_option("rejected")
    shown = console.actions.locator("> details > summary > .pill")
    expect(shown.first).to_have_text("rejected")
    expect(shown.filter(has_not_text="rejected")).to_have_count(0)
    through.select_option("event")
    client.select_option("phlo")
    expect(console.actions).to_have_count(0)
    expect(console.page.locator("#no-action")).to_contain_text("filter")


def test_the_curl_command_sends_the_same_request_and_it_is_shown(
    stack: Stack, console: Console, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    console.begin()
    console.field("Idempotency-Key").fill("key-of-curl")
    command = console.page.locator("#curl")
    expect(command).to_contain_text("key-of-curl")
    expect(command).to_contain_text(console.field("to").input_value())
    token = stack.description["clients"]["phlo"]["token"]
    assert token not in console.page.content()
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(stack.description))

    done = subprocess.run(  # noqa: S603 -- the command that the page shows
        ["/bin/bash", "-c", str(command.text_content())],
        cwd=tmp_path,
        env={"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_MS / 1000,
    )

    assert "201" in done.stdout.splitlines()[0], done.stdout + done.stderr
    console.expect_figures(1, 1)
    expect(console.actions.first.locator(".pill").first).to_have_text("accepted")
    console.press("Send")
    expect(console.status).to_contain_text("replayed")
    console.expect_figures(2, 1)


def test_the_keyboard_alone_is_enough(console: Console) -> None:
    page, keyboard = console.page, console.page.keyboard

    def focused() -> str:
        text: str = page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).innerText"
        )
        return " ".join(text.split())

    def tab_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            if focused() == name:
                break
        assert focused() == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"

    keyboard.press("Tab")
    assert focused() == "Skip to the form"
    tab_to("Reset counters")
    keyboard.press("Enter")
    tab_to("New call")
    before = console.field("trigger_source").input_value()
    keyboard.press("Enter")
    expect(console.field("trigger_source")).not_to_have_value(before)
    tab_to("to")
    keyboard.type("+14152228888")
    keyboard.press("Enter")
    expect(console.status).to_contain_text("accepted")
    tab_to("Send again")
    keyboard.press("Space")
    expect(console.status).to_contain_text("replayed")
    console.expect_figures(2, 1)

    details = console.actions.first.locator("> details")
    expect(details).to_have_attribute("open", "")
    summary = details.locator("> summary")
    expect(summary).to_contain_text("requests 2 sent 1")  # it may be later than the figures
    tab_to(" ".join(summary.inner_text().split()))
    keyboard.press("Enter")
    expect(details).not_to_have_attribute("open", "")
    keyboard.press("Enter")
    expect(details.locator(".body > .steps")).to_be_visible()


@cache
def axe() -> str:
    """The source of axe-core, from npm; skips if it cannot be installed."""
    folder = STATE / "axe"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, which would install axe-core")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(  # noqa: S603 -- npm, with fixed arguments
            [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode or not script.is_file():
            pytest.skip(f"axe-core cannot be installed: {done.stderr.strip()[-200:]}")
    return script.read_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    stack: Stack, browser: Browser, scheme: str, size: dict[str, int]
) -> None:
    script = axe()
    page = opened(browser, str(stack.console_url), viewport=size, color_scheme=scheme)
    console = Console(page)
    console.begin()
    console.choose(failure="500")
    console.press("Send")
    expect(console.status).to_contain_text("unknown")
    expect(console.actions.first.locator(".body > dl")).to_be_visible()
    for summary in page.locator("#actions > li").first.locator(".body summary").all():
        summary.click()
    page.evaluate("document.querySelector('.commands').open = true")

    page.evaluate(script)
    report = page.evaluate("axe.run()")
    page.context.close()

    bad = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]])
        for one in report["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert bad == []


def test_nothing_is_wider_than_a_phone(stack: Stack, browser: Browser) -> None:
    page = opened(browser, str(stack.console_url), viewport=PHONE)
    console = Console(page)
    console.begin()
    console.press("Send")
    expect(console.actions.first.locator(".body > dl")).to_be_visible()
    for summary in page.locator("details > summary").all():
        if summary.is_visible():
            summary.click()

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.context.close()


class OtherOrigin(BaseHTTPRequestHandler):
    """A page of another origin on this machine, as close as an attacker's page can be."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other origin</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
        """Log nothing."""


REACH = """async (console) => {
  const tries = {
    look: () => fetch(console + 'api/actions'),
    blind: () => fetch(console + 'api/actions', {mode: 'no-cors'}).then((answer) => {
      if (answer.type !== 'opaque') throw new Error(answer.type);
    }),
    send: () => fetch(console + 'api/count', {
      method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}),
    simple: () => fetch(console + 'api/count', {method: 'POST', mode: 'no-cors', body: '{}'}),
    frame: () => new Promise((loaded, failed) => {
      const frame = document.body.appendChild(document.createElement('iframe'));
      frame.onload = () => {
        try { loaded(frame.contentDocument.body.innerText); } catch (error) { failed(error); }
      };
      frame.src = console;
    }),
    script: () => new Promise((loaded, failed) => {
      const script = document.createElement('script');
      script.onload = loaded; script.onerror = failed;
      script.src = console + 'console.js';
      document.body.append(script);
    }),
  };
  const reached = [];
  for (const [name, attempt] of Object.entries(tries)) {
    try { await attempt(); reached.push(name); } catch {}
  }
  return reached;
}"""


def test_a_page_of_another_origin_cannot_use_the_console(
    stack: Stack, console: Console, browser: Browser
) -> None:
    console.begin()
    console.press("Send")
    console.expect_figures(1, 1)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), OtherOrigin)) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        answers: list[int] = []
        page.on("response", lambda answer: answers.append(answer.status))

        reached = page.evaluate(REACH, stack.console_url)

        page.close()
    # A simple request succeeds for the page, which cannot read that it was refused.
    assert reached in ([], ["simple"])
    assert set(answers) <= {403}
    console.expect_figures(1, 1)  # /api/count did not reset them


def test_two_thousand_actions_do_not_slow_the_page_down(browser: Browser) -> None:
    with Served() as served:
        page = opened(browser, f"http://{served.host}/")
        page.evaluate(
            """() => {
              let last = performance.now();
              window.longest = 0;
              const frame = (now) => {
                window.longest = Math.max(window.longest, now - last);
                last = now;
                requestAnimationFrame(frame);
              };
              requestAnimationFrame(frame);
            }"""
        )
        now = time.time()
        for number in range(2_000):
            invocation = accepted(now + number / 100, f"{number:064x}")
            served.tell(served.store.segment, invocation.segment)
            served.tell(served.store.lines, "webhook", [invocation.line])

        console = Console(page)
        expect(page.locator("#figure-requests")).to_have_text("2000")
        expect(console.actions).to_have_count(50)
        assert page.evaluate("document.querySelectorAll('*').length") < 3_000
        longest = page.evaluate("window.longest")
        assert longest < 1_500, longest
        begun = time.monotonic()
        console.actions.last.locator("summary").click()
        expect(console.actions.last.locator(".steps")).to_be_visible()
        assert time.monotonic() - begun < 5
        page.get_by_role("button", name="Older").click()
        expect(console.actions).to_have_count(100)
        page.context.close()


def test_two_thousand_replays_of_one_action_are_one_entry(browser: Browser) -> None:
    with Served() as served:
        page = opened(browser, f"http://{served.host}/")
        for number in range(2_000):
            invocation = accepted(time.time(), "a" * 64, replayed=number > 0)
            served.tell(served.store.segment, invocation.segment)
            served.tell(served.store.lines, "webhook", [invocation.line])

        console = Console(page)
        expect(console.actions).to_have_count(1)
        expect(console.actions.locator(".count")).to_have_text("requests 2000 sent 1")
        console.actions.locator("summary").click()
        expect(console.actions.locator(".requests > li")).to_have_count(6)
        page.context.close()


def test_an_open_page_shows_the_next_stack(browser: Browser) -> None:
    now = time.time()
    first, second = (accepted(now, "a" * 64, action=name) for name in ("hold", "unhold"))
    with Served() as served:
        page = opened(browser, f"http://{served.host}/")
        served.tell(served.store.segment, first.segment)
        served.tell(served.store.lines, "webhook", [first.line])
        console = Console(page)
        expect(console.actions.locator(".name")).to_have_text(["hold"])
    with Served(port=served.port) as served:
        served.tell(served.store.segment, second.segment)
        served.tell(served.store.lines, "webhook", [second.line])

        expect(console.actions.locator(".name")).to_have_text(["unhold"])
        page.context.close()


class Shown(NamedTuple):
    """What a screenshot shows: an outcome, the button pressed after it, and how many requests."""

    outcome: str
    failure: str
    then: str
    requested: int


@pytest.mark.parametrize(
    "shown",
    [Shown("accepted", "", "30 at once", 31), Shown("unknown", "500", "Send again", 2)],
    ids=lambda shown: shown.outcome,
)
def test_pictures_for_the_documents(
    stack: Stack, browser: Browser, tmp_path: Path, shown: Shown
) -> None:
    page = opened(browser, str(stack.console_url), reduced_motion="reduce")
    console = Console(page)
    console.begin()
    console.choose(failure=shown.failure)
    console.press("Send")
    expect(console.status).to_contain_text(shown.outcome)
    console.press(shown.then)
    expect(console.status).to_contain_text("replayed")
    console.expect_figures(shown.requested, 1)
    action = console.actions.first
    expect(action).to_contain_text("Published events")
    took = action.locator(".requests > li > details > summary .took")
    expect(took.filter(has_not_text="ms")).to_have_count(0)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    folder = Path(os.environ.get("CONSOLE_PICTURES") or tmp_path)

    file = folder / f"console-{shown.outcome}.png"
    page.screenshot(path=file)
    page.context.close()

    # Only what is published must be small: the size depends on the fonts that are installed.
    assert file.stat().st_size < MAX_BYTES or folder == tmp_path
