"""What happens elsewhere appears by itself, and nothing moves that the viewer is about to use."""

from harness import until
from signin import sign_in, signed_in


def enqueue(database, name, number=1):
    database.run("SELECT bgjob_enqueue_many(%s, (SELECT array_agg('{}'::jsonb) FROM generate_series(1, %s)), kind => 'external', queue => 'video', run_as => 'app')", name, number)


def first_rows(browser, number=10):
    return browser.js("return [...document.querySelectorAll('main [data-row]')].slice(0, arguments[0]).map((r) => r.dataset.row)", number)


def test(tap, browser, database):
    sign_in(browser, "app", path=f"/d/{browser.database}/jobs?state=enqueued")
    signed_in(browser)
    until(lambda: browser.has(".live.open"), "the page is live")
    browser.rest()
    browser.js("window.before = 1")
    enqueue(database, "live.appears")
    until(lambda: "live.appears" in browser.text("main"), "the job appears")
    tap.ok(browser.js("return window.before === 1"), "a job that SQL enqueues appears without a reload")

    rows = first_rows(browser)
    target = browser.driver.find_element("css selector", f'main [data-row="{rows[3]}"]')
    browser.point_at(target)
    there = browser.js("return arguments[0].getBoundingClientRect().top", target)
    enqueue(database, "live.hovered", 3)
    until(lambda: "new job" in browser.text("main"), "newer rows are counted")
    tap.ok(browser.js("return arguments[0].isConnected && arguments[0].matches(':hover')", target), "the row under the mouse stays under the mouse")
    tap.same(first_rows(browser), rows, "and no other row moves")
    tap.ok(browser.js("return Math.abs(arguments[0].getBoundingClientRect().top - arguments[1]) < 60", target, there), "but for the note that there are newer ones")

    browser.rest()
    until(lambda: "live.hovered" in browser.text("main"), "the newer rows are shown when the pointer has left")
    rows = first_rows(browser)
    browser.click(browser.driver.find_element("css selector", f'main [data-row="{rows[5]}"] input[type=checkbox]'))
    until(lambda: browser.has("main tr.selected"), "a row is selected")
    browser.js("scrollTo(0, 400)")
    until(lambda: browser.js("return scrollY > 0"), "the page is scrolled")
    scrolled = browser.js("return scrollY")
    browser.rest()
    enqueue(database, "live.selected", 2)
    until(lambda: "2 new jobs" in browser.text("main"), "newer rows are counted")
    tap.same(browser.js("return document.querySelector('main tr.selected')?.dataset.row"), rows[5], "the selection stays")
    tap.same(first_rows(browser), rows, "the rows stay")
    tap.ok(abs(browser.js("return scrollY") - scrolled) < 60, "the scroll stays", scrolled, browser.js("return scrollY"))
    browser.js("scrollTo(0, 0)")

    browser.go(f"/d/{browser.database}/overview")
    waiting = until(lambda: browser.js("return [...document.querySelectorAll('.stat')].find((s) => s.innerText.includes('nqueued'))?.querySelector('.stat-value')?.innerText"), "the overview has numbers")
    enqueue(database, "live.counted", 7)
    until(lambda: browser.js("return [...document.querySelectorAll('.stat')].find((s) => s.innerText.includes('nqueued')).querySelector('.stat-value').innerText") != waiting, "the number changes")
    tap.ok(True, "the overview's numbers follow")
    tap.same(browser.problems(), [], "the console is silent")
