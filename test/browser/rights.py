"""PostgreSQL decides what a role sees and does: also when the requests are made by hand, and whoever's page makes them."""

import http.server
import json
import threading

from harness import until
from signin import sign_in, signed_in


def request(browser, method, path, body=None, csrf="right", session=""):
    """Sends a request from the page itself, with its session. session: the path below which the program stands. Returns [status, answer]."""
    return browser.js("""
        const [method, path, body, csrf, session] = arguments;
        return fetch(`${session}/api/session`).then((r) => r.json()).then((s) => fetch(path, { method, body: body === null ? undefined : JSON.stringify(body), headers: {
            'Content-Type': 'application/json', ...(csrf === 'right' ? { 'X-CSRF-Token': s.csrf } : csrf ? { 'X-CSRF-Token': csrf } : {}) } }))
            .then(async (r) => [r.status, await r.json().catch(() => null)]);
    """, method, path, body, csrf, session)


def of_others(tap, browser, database):
    at = f"/api/d/{browser.database}/"
    theirs = database.value("SELECT min(id) FROM bgjob.jobs WHERE state = 'scheduled' AND run_as = 'app'::regrole")
    batch = database.value("SELECT max(id) FROM bgjob.batches WHERE description LIKE 'Photos%'")
    before = database.value("SELECT row_to_json(j)::text FROM (SELECT state, queue, priority, run_at FROM bgjob.jobs WHERE id = %s) j", theirs)

    browser.open(f"/d/{browser.database}/jobs")
    until(lambda: "monthly_report" in browser.text("main"), "its own jobs are shown")
    tap.ok("charge_card" not in browser.text("main"), "the list has none of another role's jobs")
    _, answer = request(browser, "GET", f"{at}jobs?rows=200")
    roles = set(row.get("run_as", "reporting") for row in answer["data"]["rows"])
    names = " ".join(str(row["job"]) for row in answer["data"]["rows"])
    tap.ok(roles == {"reporting"} and "send_mail" not in names, "nor has its JSON", roles)
    for page, why in ((f"job?id={theirs}", "a job"), (f"batch?id={batch}", "a batch"), ("recurring_job?name=vacuum&owner=app", "a recurring job")):
        status, answer = request(browser, "GET", at + page)
        tap.ok(status in (200, 404) and not (answer or {}).get("data"), f"{why} of another role is not there", status, answer)
    for page in ("recurring", "batches", "signals", "failures"):
        _, answer = request(browser, "GET", at + page)
        text = json.dumps(answer)
        tap.ok("vacuum" not in text and "Black Friday" not in text and "release-approved" not in text and "card declined" not in text, f"{page}: nothing of another role", text[:300])

    orders = [("delete", {"id": str(theirs)}), ("requeue", {"id": str(theirs)}), ("reschedule", {"id": str(theirs), "delay": "1 second"}), ("change", {"id": str(theirs), "priority": "9"}),
              ("copy_job", {"id": str(theirs)}), ("batch_cancel", {"id": str(batch)}), ("batch_retry", {"id": str(batch), "which": "all"}), ("queue_pause", {"name": "mail"}),
              ("queue_configure", {"name": "mail", "max_running": "0"}), ("limit_close", {"name": "erp", "delay": "1 hour"}), ("limit_set", {"name": "erp", "max_running": "0"}), ("limit_remove", {"name": "erp"}),
              ("server_pause", {"name": "default"}), ("server_set", {"name": "default", "queues": ["legacy"]}), ("server_remove", {"name": "batch"})]
    refused = {}
    for action, body in orders:
        status, answer = request(browser, "POST", f"{at}do/{action}", body)
        refused[action] = status if status != 200 else (answer or {}).get("result")
    tap.ok(all(v in (403, 404, False, None, []) for v in refused.values()), "what it may not do is refused", refused)
    tap.ok(sum(v == 403 for v in refused.values()) >= 10, "most of it by an error of the server", refused)
    for action in ("recurring_trigger", "recurring_pause", "recurring_remove"):
        request(browser, "POST", f"{at}do/{action}", {"name": "vacuum"})
    request(browser, "POST", f"{at}do/signal_remove", {"name": "release-approved:2026.10"})
    tap.same(database.value("SELECT active FROM bgjob.recurring_jobs WHERE name = 'vacuum'"), True, "a recurring job of another role is untouched")
    tap.same(database.value("SELECT count(*) FROM bgjob.signals WHERE name = 'release-approved:2026.10'"), 1, "and so is its signal")
    after = database.value("SELECT row_to_json(j)::text FROM (SELECT state, queue, priority, run_at FROM bgjob.jobs WHERE id = %s) j", theirs)
    tap.same(after, before, "and its job")
    tap.same(database.value("SELECT bool_or(paused) FROM bgjob.queues WHERE queue = 'mail'"), False, "and the queues")

    waiting = database.value("SELECT count(*) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled') AND run_as = 'app'::regrole AND queue <> 'exports'")
    for order in ({"action": "delete", "ids": [str(theirs)], "from_state": "scheduled"}, {"action": "delete", "query": "state:scheduled", "from_state": "scheduled"}):
        status, answer = request(browser, "POST", f"{at}bulk", order)
        until(lambda: all(b["state"] in ("done", "failed", "stopped") for b in request(browser, "GET", f"{at}bulk")[1]["bulks"]), "the bulk has ended")
    tap.same(database.value("SELECT count(*) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled') AND run_as = 'app'::regrole AND queue <> 'exports'"), waiting, "bulk actions reach none of another role's jobs")

    for page, button in (("queues", "Pause"), ("limits", "Add a limit"), ("servers", "Add a server")):
        browser.open(f"/d/{browser.database}/{page}")
        tap.ok(not browser.offers(button), f"{page}: no button for what it may not do")


EVIL = """<!doctype html><title>another site</title><h1>elsewhere</h1><iframe src="{url}/d/{db}/jobs"></iframe>
<form id="form" method="post" enctype="text/plain" action="{url}/api/d/{db}/do/delete" target="frame"><input name='{{"id": "{job}", "x": "' value='"}}'></form><iframe name="frame"></iframe>
<img src="{url}/api/d/{db}/do/delete?id={job}">
<script>
const url = '{url}/api/d/{db}/do/delete', body = '{{"id": "{job}"}}';
const tries = [
	() => fetch(url, {{ method: 'POST', mode: 'no-cors', credentials: 'include', headers: {{ 'Content-Type': 'text/plain' }}, body }}),
	() => fetch(url, {{ method: 'POST', credentials: 'include', headers: {{ 'Content-Type': 'application/json' }}, body }}),
	() => fetch(url, {{ method: 'POST', credentials: 'include', headers: {{ 'Content-Type': 'application/json', 'X-CSRF-Token': 'guess' }}, body }}),
	() => fetch('{url}/api/session', {{ method: 'DELETE', mode: 'no-cors', credentials: 'include' }}),
	() => fetch('{url}/api/session', {{ credentials: 'include' }}).then((r) => r.text()).then((t) => {{ window.stolen = t; }}),
	() => navigator.sendBeacon(url, body)
];
document.getElementById('form').submit();
Promise.allSettled(tries.map(async (t) => t())).then(() => {{ window.tried = true; }});
</script>"""


def from_elsewhere(tap, browser, database):
    """Another site in the same browser. It is on the same host, so that even a SameSite cookie goes with its requests."""
    mine = database.value("SELECT min(id) FROM bgjob.jobs WHERE state = 'scheduled' AND run_as = 'app'::regrole")
    page = EVIL.format(url=browser.url, db=browser.database, job=mine).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        until(lambda: browser.js("return window.tried"), "it has tried all")
        tap.same(browser.js("return window.stolen ?? null"), None, "another site cannot read who is signed in, nor the token")
    finally:
        server.shutdown()
    browser.open(f"/d/{browser.database}/job/{mine}")
    signed_in(browser)
    tap.ok(True, "it cannot end the session")
    tap.same(database.value("SELECT state FROM bgjob.jobs WHERE id = %s", mine), "scheduled", "and it cannot delete a job, by form, by fetch or by beacon")
    for csrf, why in ((None, "no token"), ("0" * 64, "a wrong token")):
        status, _ = request(browser, "POST", f"/api/d/{browser.database}/do/delete", {"id": str(mine)}, csrf)
        tap.same(status, 403, f"a request with {why} is refused")
    status, _ = request(browser, "GET", f"/api/d/{browser.database}/do/delete?id={mine}")
    tap.ok(status in (403, 404, 405), "an action does not answer to GET", status)
    tap.same(database.value("SELECT state FROM bgjob.jobs WHERE id = %s", mine), "scheduled", "the job is still there")


def test(tap, browser, database):
    sign_in(browser, "reporting")
    signed_in(browser)
    with tap.part("rights: of others", browser):
        of_others(tap, browser, database)
    sign_in(browser, "app")
    signed_in(browser)
    with tap.part("rights: from elsewhere", browser):
        from_elsewhere(tap, browser, database)
    browser.problems()
