"""The search box: it completes, finds, and opens."""

from harness import Keys, until
from signin import sign_in, signed_in


def options(browser):
    return browser.js("return [...document.querySelectorAll('[role=option]')].filter(seen).map(nameOf)")


def rows(browser):
    return browser.js("return [...document.querySelectorAll('main [data-row]')].map((r) => r.innerText)")


def search(browser, text):
    browser.press("/")
    box = until(lambda: browser.js("return document.activeElement.matches('[data-search]') ? document.activeElement : null"), "the box has the focus")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text)
    return box


def submit(browser):
    """Searches. Escape closes the list of suggestions first, if there is one."""
    before = browser.path()
    if options(browser):
        browser.press(Keys.ESCAPE)
    browser.press(Keys.ENTER)
    until(lambda: browser.path() != before, "the address changes")
    browser.settle()


def test(tap, browser, database):
    sign_in(browser, "app", path=f"/d/{browser.database}/jobs")
    signed_in(browser)
    box = search(browser, "que")
    until(lambda: any(o.startswith("queue:") for o in options(browser)), "a qualifier is offered")
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    until(lambda: box.get_attribute("value") == "queue:", "the qualifier is taken")
    box.send_keys("crit")
    until(lambda: any(o.startswith("critical") for o in options(browser)), "a queue is offered")
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    until(lambda: box.get_attribute("value").strip() == "queue:critical", "the queue is taken")
    tap.ok(True, "qualifiers and their values are completed from what there is")
    submit(browser)
    until(lambda: "q=queue" in browser.path() and rows(browser), "the list is shown")
    tap.ok(all("charge_card" in r for r in rows(browser)), "the list has what matches, and nothing else", *rows(browser)[:5])

    one = database.value("SELECT id FROM bgjob.jobs WHERE state = 'failed' AND job = 'charge_card' LIMIT 1")
    order = database.value("SELECT args ->> 'order_id' FROM bgjob.jobs WHERE id = %s", one)
    for query, expected in ((f"args.order_id:{order} job:charge_card", str(one)), ('error:"card declined" state:failed', "charge_card"), ("tag:maintenance sqlstate:57014", "pg_sleep"),
                            ("tag:vip -state:succeeded since:1d", "send_mail")):
        search(browser, query)
        submit(browser)
        until(lambda: rows(browser) and all(expected in r for r in rows(browser)), f"{query} finds {expected}")
        tap.ok(True, f"{query} finds what it should")
    address = browser.path()
    shown = rows(browser)
    browser.open(address)
    tap.same(len(rows(browser)), len(shown), "the address of a search is a link to it")

    search(browser, str(one))
    submit(browser)
    until(lambda: browser.path().endswith(f"/job/{one}"), "the job is opened")
    tap.ok(True, "a number opens the job")
    before = browser.path()
    for query in ("since:nonsense", "state:nonsense", "-queue:Mail"):
        box = search(browser, query)
        browser.press(Keys.ENTER)
        until(lambda: browser.text(".search-error"), "an error is shown")
        tap.ok(query.split(":")[1] in browser.text(".search-error") and box.get_attribute("aria-invalid") == "true", f"{query}: the box says what is wrong", browser.text(".search-error"))
        tap.same(browser.path(), before, f"{query}: and nothing else is opened")
    box.send_keys("x")
    until(lambda: not browser.has(".search-error"), "the error goes")
    tap.ok(True, "when it is corrected, the error goes")
    browser.open(f"/d/{browser.database}/jobs?q=state:nonsense")
    until(lambda: "nonsense" in browser.text(".error-box"), "an error is shown")
    tap.ok(not rows(browser), "a link with a wrong query shows the error and no jobs", *rows(browser)[:3])
    browser.problems()
