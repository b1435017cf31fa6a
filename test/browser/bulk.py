"""Actions on many jobs: on selected ones, on all that match, with a preview; stopped; refused for an empty search."""

from harness import Database, until
from signin import sign_in, signed_in


def make(database, name, number):
    database.run("SELECT bgjob_enqueue_many(%s, (SELECT array_agg(jsonb_build_object('n', n)) FROM generate_series(1, %s) AS n), kind => 'external', queue => 'bulk', run_as => 'app')", name, number)


def count(database, name, state):
    return database.value("SELECT count(*) FROM bgjob.jobs WHERE job = %s AND state = %s", name, state)


def select_first(browser, number):
    boxes = until(lambda: (b := browser.driver.find_elements("css selector", "main [data-row] input[type=checkbox]")) and len(b) >= number and b, "there are rows to select")
    for box in boxes[:number]:
        browser.click(box)


def select_all(browser):
    select_first(browser, 1)
    browser.click(browser.driver.find_element("css selector", "main thead input[type=checkbox]"))


def preview(browser, number):
    return until(lambda: (t := browser.text("dialog[open] .preview, dialog[open] [role=status]")) and t.replace("\u202f", "").startswith(number) and t, f"the preview says {number}")


def agree_and_run(browser):
    if browser.has("dialog[open] .inline-check input"):
        browser.click(browser.driver.find_element("css selector", "dialog[open] .inline-check input"))
    run = until(lambda: browser.js("return [...document.querySelectorAll('dialog[open] footer button')].findLast((b) => !b.disabled && nameOf(b) !== 'Cancel')"), "the action can be run")
    browser.click(run)
    browser.closed()


def test(tap, browser, database):
    make(database, "bulk.some", 5)
    make(database, "bulk.all", 230)
    make(database, "bulk.stopped", 1500)

    sign_in(browser, "app", path=f"/d/{browser.database}/jobs?state=enqueued&q=job:bulk.some")
    signed_in(browser)
    select_first(browser, 2)
    tap.ok("2 jobs selected" in browser.text("main"), "two rows are selected")
    browser.click("Delete")
    browser.dialog()
    preview(browser, "2")
    tap.ok("bgjob_delete" in browser.text("dialog[open] .code"), "the dialog says how many, and shows the SQL")
    agree_and_run(browser)
    database.becomes("SELECT count(*) = 2 FROM bgjob.jobs WHERE job = 'bulk.some' AND state = 'deleted'")
    tap.same(count(database, "bulk.some", "enqueued"), 3, "those two are deleted, and no other")
    reason = database.value("SELECT reason FROM bgjob.jobs WHERE job = 'bulk.some' AND state = 'deleted' LIMIT 1")
    tap.ok(reason and "app" in reason, "the job's reason says who has done it", reason)

    # A page that is out of date: meanwhile the jobs are in another state.
    browser.open(f"/d/{browser.database}/jobs?state=enqueued&q=job:bulk.some")
    select_first(browser, 3)
    browser.click("Requeue")
    browser.dialog()
    preview(browser, "3")
    database.run("SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job = 'bulk.some' AND state = 'enqueued'")
    agree_and_run(browser)
    until(lambda: "left alone" in browser.text(".bulk-progress"), "the bulk says what it has left alone")
    tap.same(count(database, "bulk.some", "deleted"), 5, "a page that is out of date changes nothing")

    browser.open(f"/d/{browser.database}/jobs?state=enqueued&q=job:bulk.all")
    select_all(browser)
    browser.click("Select all that match")
    browser.click("Delete")
    browser.dialog()
    preview(browser, "230")
    tap.ok(True, "all that match are counted before")
    agree_and_run(browser)
    database.becomes("SELECT count(*) = 230 FROM bgjob.jobs WHERE job = 'bulk.all' AND state = 'deleted'")
    until(lambda: "done" in browser.text(".bulk-progress"), "the page says that it is done")
    tap.ok("230 changed" in browser.text(".bulk-progress"), "all of them are deleted, and the page says so", browser.text(".bulk-progress"))

    # One row is locked, so the work stands still until it is stopped.
    browser.open(f"/d/{browser.database}/jobs?state=enqueued&q=job:bulk.stopped")
    locker = Database(database.conninfo)
    with locker.connection.transaction():
        locker.run("SELECT FROM bgjob_internal.job WHERE id = (SELECT min(id) + 700 FROM bgjob.jobs WHERE job = 'bulk.stopped') FOR UPDATE")
        select_all(browser)
        browser.click("Select all that match")
        browser.click("Delete")
        browser.dialog()
        preview(browser, "1500")
        agree_and_run(browser)
        database.becomes("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted) OR EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())")
        browser.click("Stop")
    until(lambda: "stopped" in browser.text(".bulk-progress"), "it is stopped")
    tap.ok(0 < count(database, "bulk.stopped", "enqueued"), "a bulk that is stopped leaves the rest", count(database, "bulk.stopped", "enqueued"))
    locker.connection.close()

    session = browser.js("return fetch('/api/session').then((r) => r.json())")
    status = browser.js("""return fetch(`/api/d/${arguments[0]}/bulk`, { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': arguments[1] },
        body: JSON.stringify({ action: 'delete', query: ' ' }) }).then((r) => r.status)""", browser.database, session["csrf"])
    tap.same(status, 400, "an empty search is refused")
    browser.problems()
