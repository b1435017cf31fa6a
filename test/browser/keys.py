"""The keyboard, and reduced motion."""

from harness import Keys, until
from signin import sign_in, signed_in


def focused_row(browser):
    return browser.js("return document.activeElement.closest('[data-row]')?.dataset.row ?? null")


def test(tap, browser, database):
    sign_in(browser, "app", path=f"/d/{browser.database}/jobs?state=failed")
    signed_in(browser)
    rows = until(lambda: browser.js("return [...document.querySelectorAll('main [data-row]')].map((r) => r.dataset.row)"), "there are rows")

    browser.press("j")
    until(lambda: focused_row(browser) == rows[0], "j goes to the first row")
    browser.press("j", "j", "k")
    tap.ok(until(lambda: focused_row(browser) == rows[1], "the second row has the focus"), "j and k move between rows")
    browser.press("x")
    until(lambda: browser.js("return document.querySelectorAll('main tr.selected').length") == 1, "x selects")
    tap.same(browser.js("return document.querySelector('main tr.selected').dataset.row"), rows[1], "x selects the row")
    browser.press("x")
    until(lambda: not browser.has("main tr.selected"), "x again")
    tap.ok(True, "x again takes it out")
    browser.press(Keys.ENTER)
    until(lambda: browser.path().endswith(f"/job/{rows[1]}"), "enter opens")
    tap.ok(True, "enter opens the row")
    browser.driver.back()
    browser.settle()
    tap.ok(browser.path().endswith("/jobs?state=failed"), "and the browser's way back leads to the list", browser.path())

    browser.press("/")
    until(lambda: browser.js("return document.activeElement.matches('[data-search]')"), "/ goes to the search box")
    browser.press("g", "o", "?", "j")
    tap.same(browser.js("return document.activeElement.value"), "go?j", "what is typed there is text, no shortcut")
    browser.press(Keys.ESCAPE, Keys.ESCAPE)
    until(lambda: browser.js("return !document.activeElement.matches('[data-search]')"), "escape leaves the box")
    tap.ok(True, "Escape leaves it")

    browser.press("?")
    browser.dialog()
    tap.ok("Keyboard" in browser.text("dialog[open]"), "? shows the help")
    browser.press(Keys.ESCAPE)
    browser.closed()
    for key, page, title in (("o", "overview", "Overview"), ("q", "queues", "Queues"), ("r", "recurring", "Recurring"), ("b", "batches", "Batches"),
                             ("f", "failures", "Failures"), ("l", "limits", "Limits"), ("s", "servers", "Servers"), ("j", "jobs", "Jobs")):
        browser.press("g", key)
        until(lambda: f"/{page}" in browser.path() and title in browser.text("h1"), f"g {key} opens {page}")
    tap.ok(True, "g and a letter open each page")

    browser.media(prefers_reduced_motion="reduce")
    browser.open(f"/d/{browser.database}/overview")
    moving = browser.js("""return [...document.querySelectorAll('*')].filter((e) => { const s = getComputedStyle(e);
        return s.transitionDuration.split(', ').some((d) => parseFloat(d) > 0) || (s.animationName !== 'none' && parseFloat(s.animationDuration) > 0); }).map((e) => e.className)""")
    tap.same(moving, [], "who prefers reduced motion sees none")
    browser.media()
    tap.same(browser.problems(), [], "the console is silent")
