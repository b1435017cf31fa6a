"""Whatever a job can fill is shown, and never executed.

Each field gets text that would run a script if it were taken for markup, an attribute or an address. The pages must show it as it is;
window.pwned must stay unset, no element may come of it, no dialog may open, and the policy must have had nothing to refuse.
"""

import json
from urllib.parse import quote

import psycopg
from harness import until
from signin import sign_in, signed_in

IMAGE = '<img src=x onerror="pwned=1">'
SCRIPT = '"><script>pwned=2</script>'
ADDRESS = "javascript:pwned=3"
TEMPLATE = "${pwned=4}{{pwned=5}}"
KEY = IMAGE + SCRIPT + ADDRESS  # in keys, braces are places of arguments
ALL = KEY + TEMPLATE


def literal(text):
    return psycopg.sql.Literal(text).as_string(None)


def name(text):
    return '"' + text.replace('"', '""') + '"'


def sow(database):
    """Enqueues the jobs, and returns the ids of those whose pages are to be looked at."""
    run, value = database.run, database.value
    role = IMAGE
    run(f"DROP ROLE IF EXISTS {name(role)}; CREATE ROLE {name(role)} LOGIN; GRANT USAGE ON SCHEMA bgjob TO {name(role)}; GRANT {name(role)} TO app")
    run(f"CREATE FUNCTION shop.{name(IMAGE)}() RETURNS void LANGUAGE plpgsql AS $f$BEGIN "
        f"PERFORM bgjob_log({literal(ALL)}, 'error'); RAISE EXCEPTION USING MESSAGE = {literal(ALL)}, DETAIL = {literal(ALL)}, HINT = {literal(ALL)}; END$f$")
    limit = "hostile <script>pwned(1)</script>"  # a name has no "="
    run("SELECT bgjob_limit(%s, max_running => 1)", limit)
    payload = json.dumps({ALL: ALL, "__proto__": {"pwned": 6}, "list": [ALL, IMAGE], "constructor": TEMPLATE})
    options = """kind => 'external', queue => 'hostile', tags => ARRAY[%(t)s, 'hostile'], parameters => %(p)s, unique_key => %(t)s, sequence_key => %(k)s, run_as => 'app', max_retries => 0"""
    values = {"t": ALL, "p": payload, "i": IMAGE, "k": KEY}

    def enqueue(call, **more):
        return database.connection.execute(f"SELECT bgjob_enqueue({call})", {**values, **more}).fetchone()[0]

    ids = [enqueue(f"%(t)s, %(p)s, {options}")]
    batch = value("SELECT bgjob_batch(%s, parameters => %s, unique_key => %s)", ALL, payload, ALL)
    ids.append(enqueue(f"%(i)s, %(p)s, kind => 'external', queue => 'hostile', batch => {batch}, tags => ARRAY[%(t)s], max_retries => 0, limits => ARRAY[%(l)s], fairness_key => %(i)s", l=limit))
    ids.append(enqueue("%(i)s, %(p)s, kind => 'external', queue => 'hostile', max_retries => 0"))
    ids.append(enqueue("%(i)s, kind => 'external', queue => 'hostile', after_signal => ARRAY[%(i)s]"))
    ids.append(enqueue("'shop.' || quote_ident(%(i)s), run_as => 'app', max_retries => 0"))
    ids.append(enqueue("%(q)s, kind => 'sql', run_as => 'app', max_retries => 0", q=f"SELECT {literal(ALL)} AS {name(IMAGE)}"))
    ids.append(enqueue("'pg_catalog.now', run_as => %(i)s"))
    ids.append(enqueue("%(i)s, kind => 'external', queue => 'hostile', delay => '1 day'"))
    run("SELECT bgjob_delete(%s, reason => %s)", ids[-1], ALL)
    run("SELECT bgjob_signal(%s, %s)", IMAGE + " sent", payload)
    run("SELECT bgjob_recurring(%s, '0 0 1 1 *', 'shop.' || quote_ident(%s), tags => ARRAY[%s], run_as => 'app')", ALL, IMAGE, ALL)
    database.becomes("SELECT state = 'failed' FROM bgjob.jobs WHERE id = %s", ids[4])

    # An external worker with such a name has one job with progress and log, one that fails, and one that succeeds.
    worker = IMAGE
    taken = value("SELECT array_agg(id) FROM bgjob_fetch('{hostile}', %s, 3, lease => '1 hour')", worker)
    run("SELECT bgjob_external_log(%s, %s, %s, 'warning'), bgjob_external_progress(%s, %s, 50, %s)", taken[0], worker, ALL, taken[0], worker, ALL)
    run("SELECT bgjob_fail(%s, %s, %s, %s, retry => false)", taken[1], worker, ALL, payload)
    run("SELECT bgjob_complete(%s, %s, %s)", taken[2], worker, payload)
    run(f"DROP FUNCTION shop.{name(IMAGE)}()")
    return ids, batch, limit


def harmless(browser):
    """What has come of the text, which should be nothing."""
    found = browser.js("""return [window.pwned !== undefined && `pwned = ${window.pwned}`, ({}).pwned !== undefined && 'a prototype is polluted',
        ...[...document.querySelectorAll('img[src="x"], [onerror], [href^="javascript:" i], [src^="javascript:" i], script:not([src])')].map((e) => e.outerHTML)].filter(Boolean)""")
    if browser.has_alert():
        found.append("a dialog has opened")
    return found


def test(tap, browser, database):
    refused = 0
    for queue in (IMAGE, "a b", "A", "<b>", "x" * 64, "", "ä"):
        try:
            database.run("SELECT bgjob_enqueue('x', kind => 'external', queue => %s)", queue)
        except psycopg.Error as error:
            refused += error.sqlstate == "22023"
    tap.same(refused, 7, "a queue cannot have a name with markup")

    ids, batch, limit = sow(database)
    sign_in(browser, "admin")
    signed_in(browser)
    browser.problems()
    pages = [
        ("overview", None), ("jobs", IMAGE), ("jobs?state=failed", SCRIPT), ("jobs?state=processing", IMAGE), ("jobs?state=awaiting", IMAGE), ("jobs?state=enqueued", None), ("jobs?state=deleted", IMAGE),
        ("failures", IMAGE), ("recurring", ALL), (f"recurring/{quote(ALL, safe='')}?owner=postgres", ALL), ("batches", ALL), (f"batch/{batch}", ALL),
        ("batches?view=signals", IMAGE), ("queues", None), ("limits", limit), (f"limits/{quote(limit, safe='')}", limit), ("servers", IMAGE),
        (f"jobs?q={quote(ALL)}", None), (f"jobs?q={quote('tag:' + chr(34) + IMAGE.replace(chr(34), chr(92) + chr(34)) + chr(34))}", None), (f"recurring?search={quote(IMAGE)}", None),
        (f"job/{quote(IMAGE, safe='')}", None), (f"{quote(IMAGE, safe='')}", None), (f"queues?find={quote(SCRIPT)}&after={quote(IMAGE)}", None),
    ] + [(f"job/{number}", IMAGE[:18]) for number in ids]  # the names of roles are quoted as identifiers
    for path, expected in pages:
        with tap.part(f"hostile: {path}", browser):
            browser.open(f"/d/{browser.database}/{path}", settle=False)
            until(lambda: not browser.has(".loading") and len(browser.text("main")) > 20, f"{path} is shown")
            if expected:
                until(lambda: expected in browser.js("return document.querySelector('main').textContent"), f"{path} shows the text as it is")
            found = harmless(browser)
            complaints = [p for p in browser.problems() if "Content Security" in p or "content-security" in p.lower()]
            tap.ok(not found and not complaints, f"{path[:60]}: text of others stays text", *found, *complaints)

    with tap.part("hostile: dialogs", browser):
        browser.open(f"/d/{browser.database}/recurring")
        browser.click(browser.named("Trigger now", inside=SCRIPT))
        until(lambda: SCRIPT in browser.js("return document.querySelector('dialog[open] .code')?.textContent ?? ''"), "the SQL is shown")
        tap.same(harmless(browser), [], "in a dialog with its SQL, too")
    with tap.part("hostile: completion", browser):
        browser.open(f"/d/{browser.database}/jobs")
        browser.press("/")
        for typed in ("tag:", "job:", "role:"):
            box = until(lambda: browser.js("return document.activeElement.matches('[data-search]') ? document.activeElement : null"), "the box has the focus")
            browser.js("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input', { bubbles: true }))", box)
            box.send_keys(typed)
            until(lambda: browser.js("return [...document.querySelectorAll('[role=option]')].some((o) => o.innerText.includes('<img') || o.innerText.includes('script'))"), f"{typed} offers it")
        tap.same(harmless(browser), [], "in the completion of the search box, too")
    browser.problems()
