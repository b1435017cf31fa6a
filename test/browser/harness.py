"""What the tests in a browser have in common: TAP, the browser, the database, and waiting.

A test never sleeps: until() polls a condition, with a deadline. Elements are found by what a user perceives: by their accessible name.
Everything that the page writes to the console, and each violation of the Content-Security-Policy, is collected: problems().
"""

import contextlib
import json
import os
import sys
import time
import traceback

import psycopg
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, NoAlertPresentException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

DEADLINE = float(os.environ.get("BROWSER_DEADLINE", "20"))
HERE = os.path.dirname(os.path.abspath(__file__))

# Functions for scripts in the page. nameOf is a short form of the accessible name, which serves for the elements of this page.
HELPERS = """
const nameOf = (e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || e.title || '').replace(/\\s+/g, ' ').trim();
const seen = (e) => e.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true });
const scope = () => document.querySelector('dialog[open]') ?? document;
"""


class Tap:
    """Counts and prints results. A part that raises is a failure, and the next one goes on."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, passed, name, *details):
        self.count += 1
        self.failed += 0 if passed else 1
        print(f"{'ok' if passed else 'not ok'} {self.count} - {name}")
        if not passed:
            for detail in details:
                for line in str(detail).splitlines()[:40]:
                    print(f"# {line[:1500]}")
        sys.stdout.flush()
        return passed

    def same(self, got, expected, name):
        return self.ok(got == expected, name, f"got:      {got!r}", f"expected: {expected!r}")

    @contextlib.contextmanager
    def part(self, name, browser=None):
        began = time.monotonic()
        try:
            yield
        except Exception:  # the other parts shall say what they have to say
            where = browser.where() if browser else ""
            self.ok(False, f"{name}: runs to its end", traceback.format_exc(limit=-4), where)
        print(f"# {name}: {time.monotonic() - began:.1f} s")

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


class Late(Exception):
    """A condition did not come true in time."""


def until(condition, what, seconds=None):
    """Polls until condition() is true, and returns what it returned. Raises Late."""
    end = time.monotonic() + (seconds or DEADLINE)
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (StaleElementReferenceException, JavascriptException) as error:
            last = error
        if time.monotonic() > end:
            raise Late(f"{what}; last: {last!r}")
        time.sleep(0.03)


class Database:
    """The superuser's connection to the database that is shown, and others."""

    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.connection = psycopg.connect(conninfo, autocommit=True)

    def value(self, query, *values):
        row = self.connection.execute(query, values or None).fetchone()
        return row[0] if row else None

    def run(self, query, *values):
        self.connection.execute(query, values or None)

    def becomes(self, query, *values, seconds=None):
        """Waits until the query returns true."""
        return until(lambda: self.value(query, *values), query, seconds)


class Browser:
    def __init__(self, url, home):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
                       "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
                       "--lang=en-US", "--window-size=1440,900", f"--user-data-dir={home}/profile"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.set_capability("unhandledPromptBehavior", "ignore")
        self.url = url
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(30)
        self.collected = []
        self.performed = set()
        self.size(1440, 900)

    # ---- the window ----

    def size(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def media(self, **features):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": k.replace("_", "-"), "value": v} for k, v in features.items()])

    def cdp(self, command, **values):
        return self.driver.execute_cdp_cmd(command, values)

    def js(self, script, *values):
        return self.driver.execute_script(HELPERS + script, *values)

    # ---- going somewhere ----

    def open(self, path, settle=True):
        self.note_requests()
        self.driver.get(self.url + path)
        if settle:
            self.settle()

    def settle(self):
        """Waits until the page has its title and its data."""
        until(lambda: self.js("return document.readyState === 'complete' && document.querySelector('h1') && !document.querySelector('.loading')"), "the page settles")

    def go(self, path):
        """Opens an address of the page without loading it anew, as a link does."""
        self.js("const a = document.createElement('a'); a.href = arguments[0]; document.querySelector('main').append(a); a.click(); a.remove();", self.url + path)
        self.settle()

    def path(self):
        return self.js("return location.pathname + location.search")

    def where(self):
        try:
            return f"{self.driver.current_url}\n{self.text()[:1500]}"
        except WebDriverException as error:
            return str(error)

    # ---- what is there ----

    def text(self, selector="body"):
        return self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def has(self, selector):
        return self.js("return Boolean(document.querySelector(arguments[0]))", selector)

    def named(self, name, selector="button, a[href], [role=option], summary", inside=None):
        """Waits for an element that is visible and has a name; inside: text of the row or card that it stands in. A dialog that is open counts alone."""
        script = """
            const [name, selector, inside] = arguments;
            return [...scope().querySelectorAll(selector)].find((e) => seen(e) && nameOf(e) === name
                && (!inside || (e.closest('[data-row]') ?? e.closest('.card'))?.innerText.includes(inside)));
        """
        return until(lambda: self.js(script, name, selector, inside), f'there is "{name}"{f" beside {inside}" if inside else ""}')

    def offers(self, name, selector="button, a[href]"):
        return self.js("return [...scope().querySelectorAll(arguments[1])].some((e) => seen(e) && nameOf(e).startsWith(arguments[0]))", name, selector)

    def field(self, label):
        return until(lambda: self.js("return [...scope().querySelectorAll('input, select, textarea')].find((e) => seen(e) && nameOf(e).startsWith(arguments[0]))", label), f'there is a field "{label}"')

    # ---- doing something ----

    def click(self, element):
        if not isinstance(element, webdriver.remote.webelement.WebElement):
            element = self.named(element)
        self.js("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def fill(self, label, value):
        element = self.field(label)
        if element.tag_name == "select":
            self.js("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', { bubbles: true }))", element, value)
            return
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(Keys.DELETE if value == "" else value)

    def press(self, *keys):
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def point_at(self, element):
        ActionChains(self.driver).move_to_element(element).perform()

    def rest(self):
        """Takes the pointer and the focus out of the lists, so that they may change."""
        self.js("document.activeElement.blur()")
        self.point_at(self.driver.find_element("css selector", ".brand"))

    def dialog(self):
        return until(lambda: self.js("return document.querySelector('dialog[open]')"), "a dialog opens")

    def closed(self):
        until(lambda: not self.has("dialog[open]"), "the dialog closes")

    def act(self, label, inside=None, fill=None, button=None):
        """Clicks the button of an action, fills the form of its dialog, and runs it. Returns the SQL that the dialog has shown."""
        self.click(self.named(label, inside=inside))
        self.dialog()
        for name, value in (fill or {}).items():
            self.fill(name, value)
        sql = until(lambda: self.js("const t = document.querySelector('dialog[open] .code')?.innerText.trim(); return t && t !== '…' ? t : null"), "the dialog shows the SQL")
        run = until(lambda: self.js("return [...document.querySelectorAll('dialog[open] footer button')].findLast((b) => !b.disabled && (!arguments[0] || nameOf(b) === arguments[0]))", button), "the action can be run")
        self.click(run)
        self.closed()
        return sql

    # ---- what went over the wire, and what went wrong ----

    def note_requests(self):
        """Reads the log of requests, and returns the events since the last time. The actions that were performed are remembered."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        for event in events:
            if event["method"] == "Network.requestWillBeSent":
                request = event["params"]["request"]
                if request["method"] == "POST" and "/do/" in request["url"] and "preview=" not in request["url"]:
                    self.performed.add(request["url"].rsplit("/", 1)[1])
        return events

    def problems(self):
        """Returns what the console and the Content-Security-Policy have complained of since the last call, and forgets it."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def has_alert(self):
        try:
            return bool(self.driver.switch_to.alert)
        except NoAlertPresentException:
            return False

    def axe(self, only=None):
        """Runs axe-core on the page, and returns the violations. axe writes style elements, which the policy refuses: that is no problem of the page."""
        before = self.problems()
        if not self.js("return Boolean(window.axe)"):
            with open(os.path.join(HERE, "vendor", "axe.min.js"), encoding="utf-8") as source:
                self.driver.execute_script(source.read())
        found = self.driver.execute_async_script("""
            const [only, done] = arguments;
            axe.run(document, { runOnly: only ? { type: 'rule', values: only } : { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] } })
                .then((r) => done(r.violations.map((v) => `${v.id} (${v.impact}): ${v.help}\\n` + v.nodes.slice(0, 4).map((n) => `  ${n.html.slice(0, 200)} ${n.failureSummary.slice(0, 200)}`).join('\\n'))), (e) => done([String(e)]));
        """, only)
        self.problems()
        self.collected += before
        return found

    def end(self):
        self.driver.quit()
