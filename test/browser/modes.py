"""A dashboard that only shows, hides arguments, and stands under a path of another site (--read-only --hide-arguments --base-path)."""

import os

from harness import Browser, until
from rights import request
from signin import sign_in, signed_in

# Texts of the seed that stand in arguments, results, parameters, payloads, and details of errors.
SECRETS = ("@mail.example", "supplier-", "insufficient funds.", "card ****", "ticket", "OPS-1431", '"mira"', "authorization", "partner-6", "order_id")
CHANGES = ("Requeue", "Delete", "Change", "Reschedule", "Run now", "Enqueue a copy", "Trigger", "Pause", "Resume", "Edit", "New", "Remove", "Retry", "Cancel", "Send", "Configure", "Add a", "Close limit")


def test(tap, _, database):
    base = "/jobs"
    browser = Browser(os.environ["BROWSER_URL_MODES"], os.path.join(os.environ["BROWSER_HOME"], "modes"))
    browser.database = database.value("SELECT current_database()")
    try:
        sign_in(browser, "admin", path=f"{base}/d/{browser.database}/queues")
        signed_in(browser)
        failed = database.value("SELECT max(id) FROM bgjob.jobs WHERE state = 'failed' AND job = 'charge_card'")
        done = database.value("SELECT max(id) FROM bgjob.jobs WHERE state = 'succeeded' AND job = 'charge_card'")
        batch = database.value("SELECT id FROM bgjob.batches WHERE description = 'Black Friday catalogue'")
        for path in ("overview", "jobs", "jobs?state=failed", "failures", f"job/{failed}", f"job/{done}", "recurring", "recurring/newsletter?owner=app", "batches", f"batch/{batch}", "batches?view=signals",
                     "queues", "limits", "limits/erp", "servers"):
            with tap.part(f"modes: {path}", browser):
                browser.open(f"{base}/d/{browser.database}/{path}")
                until(lambda: len(browser.text("main")) > 20, f"{path} is shown")
                shown = browser.js("return document.body.textContent")
                offered = [name for name in CHANGES if browser.offers(name, "main button")]
                tap.ok(browser.path().startswith(base) and not offered, f"{path}: below its path, without a button that changes anything", browser.path(), offered)
                tap.same([s for s in SECRETS if s in shown], [], f"{path}: nothing of arguments is shown")
                tap.same(browser.problems(), [], f"{path}: the console is silent")

        pages = {name[:-4] for name in os.listdir(os.path.join(os.environ["BROWSER_TREE"], "src", "dashboard", "sql")) if name.endswith(".sql")}
        leaks = {}
        for page in sorted(pages - {"live"}):  # a stream, which does not end
            addresses = [f"{base}/api/d/{browser.database}/{page}?{query}" for query in (
                f"id={failed}", f"id={done}&name=args", f"id={done}&name=result", f"id={batch}", "name=newsletter&owner=app", "rows=50&q=tag:payment", f"ids={{{failed},{done}}}")]
            answers = browser.js("return Promise.all(arguments[0].map((a) => fetch(a).then((r) => r.text())))", addresses)
            leaks[page] = [secret for secret in SECRETS if any(secret in answer for answer in answers)]
        tap.same({page: found for page, found in leaks.items() if found}, {}, "no statement of a page gives them away, asked by hand")
        for query in ("args.order_id:7", "-args.order_id:7", "carla266", "supplier-7.csv"):
            status, answer = request(browser, "GET", f"{base}/api/d/{browser.database}/jobs?q={query}", session=base)
            tap.ok(status in (400, 403) or status == 200 and not answer["data"]["rows"], f"nor does a search for {query}", status, answer)

        actions = sorted(name[:-4] for name in os.listdir(os.path.join(os.environ["BROWSER_TREE"], "src", "dashboard", "actions")) if name.endswith(".sql"))
        answers = {a: request(browser, "POST", f"{base}/api/d/{browser.database}/do/{a}", {"id": str(failed), "name": "mail"}, session=base)[0] for a in actions}
        tap.same({a: s for a, s in answers.items() if s != 403}, {}, "no action is performed, asked by hand")
        status, _ = request(browser, "POST", f"{base}/api/d/{browser.database}/bulk", {"action": "delete", "query": "state:failed", "from_state": "failed"}, session=base)
        tap.same(status, 403, "nor a bulk")
        tap.same(database.value("SELECT state FROM bgjob.jobs WHERE id = %s", failed), "failed", "nothing has changed")
        browser.click("Sign out")
        until(lambda: browser.has("input[type=password]"), "the sign-in page")
        tap.ok(True, "one can sign out")
    finally:
        browser.end()
