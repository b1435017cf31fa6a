"""Every action, through the page: what the dialog shows as SQL, and what it has changed in the database."""

import os

from harness import until
from signin import sign_in, signed_in

def job(database, condition):
    return database.value(f"SELECT min(id) FROM bgjob.jobs WHERE {condition}")


def jobs(tap, browser, database):
    at = f"/d/{browser.database}/job/"
    scheduled = job(database, "state = 'scheduled' AND job = 'send_mail' AND retries = 0 AND tags = '{followup}'")
    browser.open(f"{at}{scheduled}")
    sql = browser.act("Change", fill={"Queue": "search", "Priority": "7"}, button="Change")
    database.becomes("SELECT queue = 'search' AND priority = 7 FROM bgjob.jobs WHERE id = %s", scheduled)
    tap.ok("bgjob_change(" in sql and str(scheduled) in sql, "a job is changed, and the dialog shows the SQL", sql)
    browser.act("Reschedule", fill={"Delay": "3 days"}, button="Reschedule")
    database.becomes("SELECT run_at > now() + interval '2 days 23 hours' FROM bgjob.jobs WHERE id = %s", scheduled)
    tap.ok(True, "a job is rescheduled")
    until(lambda: "2 d" in browser.text("main") or "3 d" in browser.text("main"), "the page shows the new time")
    browser.act("Enqueue a copy")
    copy = until(lambda: (p := browser.path().rsplit("/", 1)[1]) != str(scheduled) and p, "the copy's page is opened")
    tap.same(database.value("SELECT a.args = b.args AND a.job = b.job FROM bgjob.jobs a, bgjob.jobs b WHERE (a.id, b.id) = (%s, %s)", scheduled, copy), True, "a copy of a job is enqueued, and its page is opened")
    browser.open(f"{at}{scheduled}")
    browser.act("Run now")
    database.becomes("SELECT state <> 'scheduled' FROM bgjob.jobs WHERE id = %s", scheduled)
    tap.ok(True, "a scheduled job runs now")

    other = job(database, "state = 'scheduled' AND job = 'send_mail' AND retries = 0 AND tags = '{followup}'")
    browser.open(f"{at}{other}")
    browser.act("Delete")
    database.becomes("SELECT state = 'deleted' FROM bgjob.jobs WHERE id = %s", other)
    until(lambda: "deleted" in browser.text(".page-head"), "the page shows it")
    tap.ok(True, "a job is deleted, and its page shows it at once")

    failed = job(database, "state = 'failed' AND job = 'charge_card'")
    before = database.value("SELECT count(*) FROM bgjob.job_states WHERE job_id = %s", failed)
    browser.open(f"{at}{failed}")
    browser.act("Requeue")
    database.becomes("SELECT count(*) >= %s + 3 FROM bgjob.job_states WHERE job_id = %s", before, failed)
    tap.ok(True, "a failed job is requeued, and runs again")

    running = job(database, "state = 'processing' AND job = 'release_step'")
    browser.open(f"{at}{running}")
    browser.act("Restart")
    database.becomes("SELECT count(*) > 3 FROM bgjob.job_states WHERE job_id = %s", running)
    database.becomes("SELECT state = 'processing' FROM bgjob.jobs WHERE id = %s", running)
    tap.ok(True, "a running job is restarted")
    browser.open(f"{at}{running}")
    browser.act("Cancel", button="Cancel")
    database.becomes("SELECT state = 'deleted' FROM bgjob.jobs WHERE id = %s", running)
    tap.ok(True, "a running job is canceled")


def recurring(tap, browser, database):
    browser.open(f"/d/{browser.database}/recurring")
    name = "abandoned carts"
    last = database.value("SELECT last_job_id FROM bgjob.recurring_jobs WHERE name = %s", name)
    browser.act("Trigger now", inside=name)
    database.becomes("SELECT count(*) > 0 FROM bgjob.jobs WHERE recurring_name = %s AND id > %s", name, last)
    tap.ok(True, "a recurring job is triggered")
    browser.act("Pause", inside=name)
    database.becomes("SELECT NOT active FROM bgjob.recurring_jobs WHERE name = %s", name)
    until(lambda: browser.js("return [...document.querySelectorAll('[data-row]')].find((r) => r.innerText.includes(arguments[0])).innerText.includes('Paused')", name), "the row says so")
    tap.ok(True, "it is paused, and its row says so")
    browser.act("Resume", inside=name)
    database.becomes("SELECT active FROM bgjob.recurring_jobs WHERE name = %s", name)
    tap.ok(True, "it is resumed")

    browser.click(browser.named("Edit", inside=name))
    browser.dialog()
    until(lambda: "every 15 minutes" in browser.text("dialog[open]"), "the words are shown")
    browser.fill("Schedule", "45 6 * * MON-FRI")
    until(lambda: "at 06:45, Monday to Friday" in browser.text("dialog[open] .schedule-preview"), "the words follow")
    tap.same(browser.js("return document.querySelectorAll('dialog[open] .schedule-preview li').length"), 5, "while a schedule is edited, its words and next five runs are shown")
    browser.fill("Schedule", "61 * * * *")
    until(lambda: "minute" in browser.text("dialog[open] [role=alert]"), "the error is shown")
    disabled = browser.js("return [...document.querySelectorAll('dialog[open] footer button')].find((b) => nameOf(b) === 'Save').disabled")
    tap.ok(disabled, "a wrong schedule is explained, and cannot be saved")
    browser.fill("Schedule", "45 6 * * MON-FRI")
    until(lambda: "06:45" in browser.text("dialog[open] .schedule-preview"), "it is right again")
    browser.click("Save")
    browser.closed()
    database.becomes("SELECT schedule = '45 6 * * MON-FRI' AND overlap = 'skip' FROM bgjob.recurring_jobs WHERE name = %s", name)
    tap.ok(True, "a recurring job is edited; what was not changed stays")

    until(lambda: browser.has("[data-row] .runs-mark.failed"), "a strip shows what has failed")
    strip = browser.js("return [...document.querySelectorAll('[data-row]')].find((r) => r.innerText.includes('product photos')).querySelector('.runs-box').getAttribute('aria-label')")
    tap.ok("In the last eight hours" in strip and "3 failed" in strip, "the strip says what a recurring job has done", strip)

    browser.click(browser.named("Edit", inside=name))
    browser.dialog()
    browser.click("More options")
    until(lambda: browser.field("Queue").get_attribute("value") == "default", "the options are there")
    browser.js("const e = arguments[0]; e.value = '2099-01-01T12:00'; e.dispatchEvent(new Event('input', { bubbles: true }))", browser.field("Until"))
    browser.fill("Jitter", "20 seconds")
    browser.click("Save")
    browser.closed()
    database.becomes("SELECT ends_at IS NOT NULL AND jitter = '20 s' FROM bgjob.recurring_jobs WHERE name = %s", name)
    browser.click(browser.named("Edit", inside=name))
    browser.dialog()
    browser.click("More options")
    until(lambda: browser.field("Jitter").get_attribute("value") == "00:00:20", "the options are there")
    browser.fill("Jitter", "")
    browser.js("const e = arguments[0]; e.value = ''; e.dispatchEvent(new Event('input', { bubbles: true }))", browser.field("Until"))
    browser.fill("Queue", "")
    until(lambda: "Needs a queue" in browser.text("dialog[open]"), "the form says that a queue is needed")
    tap.ok(browser.js("return [...document.querySelectorAll('dialog[open] footer button')].find((b) => nameOf(b) === 'Save').disabled"), "what cannot be taken back is said at once")
    browser.fill("Queue", "default")
    browser.click("Save")
    browser.closed()
    database.becomes("SELECT ends_at IS NULL AND coalesce(jitter, '0') = '0' AND queue = 'default' FROM bgjob.recurring_jobs WHERE name = %s", name)
    tap.ok(True, "what is emptied is taken back")

    browser.act("New", fill={"Name": "made here", "Schedule": "0 12 * * *", "Function": "visit", "Arguments": "[7]"}, button="Add")
    row = database.becomes("SELECT row_to_json(r) FROM bgjob.recurring_jobs r WHERE name = 'made here'")
    tap.ok(row["owner"] == "app" and row["job"] == "visit" and row["args"] == [7], "a new one is added; its function is found by the role's own search_path", row)
    browser.open(f"/d/{browser.database}/recurring/made%20here?owner=app")
    browser.act("Remove")
    database.becomes("SELECT count(*) = 0 FROM bgjob.recurring_jobs WHERE name = 'made here'")
    until(lambda: browser.path().endswith("/recurring"), "the list is shown")
    tap.ok(True, "it is removed, and the list is shown")


def batches(tap, browser, database):
    failed = database.value("SELECT id FROM bgjob.batches WHERE description = 'Photos of collection 1'")
    one = job(database, f"state = 'failed' AND batch_id = {failed}")
    before = database.value("SELECT count(*) FROM bgjob.job_states WHERE job_id = %s", one)
    browser.open(f"/d/{browser.database}/batch/{failed}")
    browser.act("Retry failed")
    database.becomes("SELECT count(*) > %s FROM bgjob.job_states WHERE job_id = %s", before, one)
    tap.ok(True, "the failed jobs of a batch run again")
    top = database.value("SELECT id FROM bgjob.batches WHERE description = 'Texts in eleven languages'")
    browser.open(f"/d/{browser.database}/batch/{top}")
    browser.act("Cancel", button="Cancel")
    database.becomes("SELECT state = 'deleted' FROM bgjob.batches WHERE id = %s", top)
    until(lambda: "deleted" in browser.text("main .batch-head"), "the page shows it")
    tap.ok(True, "a batch is canceled, and its page shows it")

    browser.open(f"/d/{browser.database}/batches?view=signals")
    browser.act("Send a signal", fill={"Name": "release-approved:2026.11", "Payload": '{"n": 12345678901234567890}'}, button="Send")
    database.becomes("SELECT payload::text = '{\"n\": 12345678901234567890}' FROM bgjob.signals WHERE name = 'release-approved:2026.11'")
    until(lambda: "12345678901234567890" in browser.text("main"), "the list shows it, the number as it is")
    tap.ok(True, "a signal is sent, and its payload is shown exactly")
    browser.act("Remove", inside="warehouse-counted")
    database.becomes("SELECT count(*) = 0 FROM bgjob.signals WHERE name = 'warehouse-counted'")
    tap.ok(True, "a signal is removed")


def administration(tap, browser, database):
    browser.open(f"/d/{browser.database}/queues")
    browser.act("Pause", inside="exports")
    database.becomes("SELECT paused FROM bgjob.queues WHERE queue = 'exports'")
    browser.act("Resume", inside="exports")
    database.becomes("SELECT NOT paused FROM bgjob.queues WHERE queue = 'exports'")
    tap.ok(True, "a queue is paused and resumed")
    browser.act("Configure a queue", fill={"Queue": "made-here", "Running at a time": "3", "May wait at most": "1000"}, button="Save")
    database.becomes("SELECT max_running = 3 AND max_length = 1000 FROM bgjob.queues WHERE queue = 'made-here'")
    tap.ok(True, "a queue is configured")
    browser.rest()
    browser.act("Remove the configuration of queue made-here")
    database.becomes("SELECT count(*) = 0 FROM bgjob.queues WHERE queue = 'made-here'")
    tap.ok(True, "the configuration of a queue is removed")

    browser.open(f"/d/{browser.database}/limits")
    browser.act("Add a limit", fill={"Name": "made here", "Running at a time": "4"}, button="Save")
    database.becomes("SELECT max_running = 4 FROM bgjob.limits WHERE name = 'made here'")
    browser.open(f"/d/{browser.database}/limits/made%20here")
    browser.act("Change", fill={"Running at a time": "5"}, button="Save")
    database.becomes("SELECT max_running = 5 FROM bgjob.limits WHERE name = 'made here'")
    browser.act("Close", fill={"For": "1 day"}, button="Close")
    database.becomes("SELECT closed_until > now() + interval '23 hours' FROM bgjob.limits WHERE name = 'made here'")
    browser.act("Open")
    database.becomes("SELECT closed_until IS NULL FROM bgjob.limits WHERE name = 'made here'")
    browser.act("Remove")
    database.becomes("SELECT count(*) = 0 FROM bgjob.limits WHERE name = 'made here'")
    tap.ok(True, "a limit is added, changed, closed, opened and removed")

    browser.open(f"/d/{browser.database}/servers")
    browser.act("Add a server", fill={"Name": "made-here", "Queues": "legacy", "Workers": "1"}, button="Save")
    database.becomes("SELECT queues = '{legacy}' AND workers = 1 FROM bgjob.servers WHERE name = 'made-here'")
    browser.rest()
    browser.act("Pause", inside="made-here")
    database.becomes("SELECT paused FROM bgjob.servers WHERE name = 'made-here'")
    browser.act("Resume", inside="made-here")
    database.becomes("SELECT NOT paused FROM bgjob.servers WHERE name = 'made-here'")
    browser.rest()
    browser.act("Remove server made-here")
    database.becomes("SELECT count(*) = 0 FROM bgjob.servers WHERE name = 'made-here'")
    tap.ok(True, "a server is added, paused, resumed and removed")


def test(tap, browser, database):
    for role, parts in (("app", (jobs, recurring, batches)), ("admin", (administration,))):
        sign_in(browser, role)
        signed_in(browser)
        browser.problems()
        for part in parts:
            with tap.part(f"actions: {part.__name__}", browser):
                part(tap, browser, database)
    browser.note_requests()
    every = {name[:-4] for name in os.listdir(os.path.join(os.environ["BROWSER_TREE"], "src", "dashboard", "actions")) if name.endswith(".sql")}
    tap.same(sorted(every - browser.performed), [], "every action has been performed through the page")
    # Only the schedule that was wrong on purpose is complained of.
    complaints = [p for p in browser.problems() if "recurring_preview" not in p]
    tap.same(complaints, [], "the console is silent")
