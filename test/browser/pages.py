"""Every page: it renders, the console is silent, nothing scrolls sideways, and axe-core finds nothing, in two themes and two widths."""


from harness import Keys, until
from signin import sign_in, signed_in

WIDE = (1440, 900)
NARROW = (390, 844)
LIMIT_KB = 150

# The rules whose result depends on the theme or the width; the others are tried once.
OF_LAYOUT = ["color-contrast", "target-size", "link-in-text-block", "scrollable-region-focusable", "region", "button-name", "link-name", "label", "aria-hidden-focus"]


ALIKE = {"jobs?state=enqueued", "jobs?state=scheduled", "jobs?state=awaiting", "jobs?state=succeeded&q=queue:critical", "jobs?state=deleted"}


def addresses(database):
    """The pages, with what each has to show."""
    one = database.value
    return [
        ("overview", "Overview"),
        ("jobs", "thumbnail.render"),
        ("jobs?state=enqueued", "newsletter"),
        ("jobs?state=scheduled", "send_mail"),
        ("jobs?state=awaiting", "release_step"),
        ("jobs?state=processing", "import_products"),
        ("jobs?state=succeeded&q=queue:critical", "charge_card"),
        ("jobs?state=failed", "charge_card"),
        ("jobs?state=deleted", "send_mail"),
        ("failures", "card declined"),
        ("recurring", "every 15 minutes"),
        ("recurring/vacuum?owner=app", "at 04:15 on Sunday"),
        ("batches", "Black Friday"),
        ("batches?view=signals", "warehouse-counted"),
        (f"batch/{one('SELECT id FROM bgjob.batches WHERE description = %s', 'Black Friday catalogue')}", "Texts in eleven languages"),
        ("queues", "newsletter"),
        ("limits", "payments"),
        ("limits/erp", "sync_erp"),
        ("servers", "gpu-1"),
        (f"job/{one('SELECT max(id) FROM bgjob.jobs WHERE state = %s AND job = %s', 'failed', 'charge_card')}", "insufficient funds"),
        (f"job/{one('SELECT id FROM bgjob.jobs WHERE state = %s AND job = %s LIMIT 1', 'processing', 'import_products')}", "import_products"),
        (f"job/{one('SELECT id FROM bgjob.jobs WHERE job = %s', 'load_events')}", "load_events"),
        (f"job/{one('SELECT min(id) FROM bgjob.jobs WHERE job = %s AND state = %s', 'release_step', 'awaiting')}", "release_step"),
        (f"job/{one('SELECT max(id) FROM bgjob.jobs WHERE job = %s AND state = %s', 'post_event', 'enqueued')}", "sequence"),
        ("job/999999999", None),
        ("no-such-page", None),
    ]


def sideways(browser):
    return browser.js("return document.documentElement.scrollWidth - innerWidth")


def odd(text):
    """Words that nobody means to show."""
    return [word for word in ("[object Object]", "undefined", "NaN", "Invalid Date") if word in text]


def look_at(tap, browser, path, expected, alike=False):
    """Looks at one page. alike: the same components have been looked at in the other theme and width."""
    name = path.split("?view=")[-1] if "?view=" in path else path
    browser.size(*WIDE)
    browser.media(prefers_color_scheme="light")
    browser.collected.clear()
    browser.open(f"/d/{browser.database}/{path}", settle=expected is not None)
    if expected:
        until(lambda: expected in browser.text("main"), f"{path} shows {expected}")
    else:
        until(lambda: len(browser.text("main")) > 20 and not browser.has(".loading"), f"{path} says something")
    text = browser.text("body")
    errors = browser.text(".error-box")
    wide = sideways(browser)
    violations = browser.axe()
    browser.media(prefers_color_scheme="dark")
    if not alike:
        violations += [f"dark: {v}" for v in browser.axe(["color-contrast", "link-in-text-block"])]
    browser.size(*NARROW)
    narrow = sideways(browser)
    if not alike:
        violations += [f"dark, narrow: {v}" for v in browser.axe(OF_LAYOUT)]
    browser.media(prefers_color_scheme="light")
    tap.ok(not odd(text) and not errors, f"{name} renders", odd(text), errors)
    tap.ok(not browser.collected, f"{name}: the console is silent", *browser.collected)
    tap.ok(wide <= 0 and narrow <= 0, f"{name}: nothing scrolls sideways, also on a phone", f"by {wide} and {narrow} pixels")
    tap.ok(not violations, f"{name}: axe-core finds nothing, in two themes and two widths", *violations)
    browser.size(*WIDE)


def dialogs(tap, browser):
    """The dialogs are pages, too."""
    for path, label, inside in (("recurring", "New", None), ("queues", "Configure a queue", None), ("batches?view=signals", "Send a signal", None)):
        browser.open(f"/d/{browser.database}/{path}")
        browser.click(browser.named(label, inside=inside))
        browser.dialog()
        browser.collected.clear()
        violations = browser.axe()
        browser.size(*NARROW)
        violations += browser.axe()
        tap.ok(not violations, f"the dialog {label}: axe-core finds nothing", *violations)
        tap.ok(sideways(browser) <= 0, f"the dialog {label}: nothing scrolls sideways on a phone")
        browser.size(*WIDE)
        browser.press(Keys.ESCAPE)
        browser.closed()
        focused = browser.js("return nameOf(document.activeElement)")
        tap.same(focused, label, f"the dialog {label}: Escape closes it, and the focus is where it was")


def transfer(tap, browser):
    """What a first visit costs."""
    browser.cdp("Network.setCacheDisabled", cacheDisabled=True)
    browser.note_requests()
    browser.open(f"/d/{browser.database}/overview")
    until(lambda: browser.has(".live.open"), "the live stream is open")
    events = browser.note_requests()
    total = sum(e["params"]["encodedDataLength"] for e in events if e["method"] == "Network.loadingFinished")
    hosts = {e["params"]["request"]["url"].split("/")[2] for e in events if e["method"] == "Network.requestWillBeSent" and e["params"]["request"]["url"].startswith("http")}
    browser.cdp("Network.setCacheDisabled", cacheDisabled=False)
    tap.ok(0 < total < LIMIT_KB * 1000, f"a first visit transfers less than {LIMIT_KB} kB", total)
    print(f"# a first visit transfers {total / 1000:.1f} kB")
    tap.same(hosts, {browser.url.split("/")[2]}, "and nothing from elsewhere")


def test(tap, browser, database):
    sign_in(browser, "admin")
    signed_in(browser)
    for path, expected in addresses(database):
        with tap.part(path, browser):
            look_at(tap, browser, path, expected, path in ALIKE)
    with tap.part("dialogs", browser):
        dialogs(tap, browser)
    with tap.part("transfer", browser):
        transfer(tap, browser)
    browser.driver.delete_all_cookies()
    browser.open("/", settle=False)
    until(lambda: browser.has("input[type=password]"), "the sign-in page")
    tap.ok(not (violations := browser.axe()), "the sign-in page: axe-core finds nothing", *violations)
    browser.problems()
