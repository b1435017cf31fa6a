"""Signing in and out, the cookie, and an address that is opened before."""

from harness import until


def sign_in(browser, role, password=None, path=None):
    """Signs in as a role, whoever was signed in before, and opens an address."""
    browser.driver.delete_all_cookies()
    browser.open(path or f"/d/{browser.database}/queues", settle=False)
    until(lambda: browser.has("input[type=password]"), "the sign-in page")
    browser.problems()  # that there is no session yet
    browser.fill("Role", role)
    browser.fill("Password", password if password is not None else role)
    browser.click("Sign in")


def signed_in(browser):
    browser.settle()
    return until(lambda: browser.text(".who-name"), "somebody is signed in")


def test(tap, browser, database):
    sign_in(browser, "app", "wrong")
    message = until(lambda: browser.text("[role=alert]"), "the error")
    tap.ok("app" not in message and browser.has("input[type=password]"), "a wrong password is refused, and the message does not say whether the role exists", message)
    status = browser.js("return fetch('/api/session').then((r) => r.status)")
    tap.same(status, 401, "without a session there is no answer but 401")
    data = browser.js("return fetch(`/api/d/${arguments[0]}/jobs`).then((r) => r.status)", browser.database)
    tap.same(data, 401, "nor are there data")
    browser.problems()

    sign_in(browser, "nobody", "nobody")
    other = until(lambda: browser.text("[role=alert]"), "the error")
    tap.same(other.splitlines()[0], message.splitlines()[0], "a role that does not exist gets the same message")
    browser.problems()

    sign_in(browser, "app", path=f"/d/{browser.database}/queues?find=mail")
    tap.same(signed_in(browser), "app", "the right password signs in")
    tap.same(browser.path(), f"/d/{browser.database}/queues?find=mail", "and leads to the address that was asked for")
    cookies = browser.driver.get_cookies()
    tap.ok(len(cookies) == 1 and cookies[0]["httpOnly"] and cookies[0]["sameSite"] == "Strict", "the session's cookie is HttpOnly and SameSite=Strict", cookies)
    tap.same(browser.js("return document.cookie"), "", "no script can read it")
    tap.ok("expiry" not in cookies[0], "and it ends with the browser", cookies)

    browser.click("Sign out")
    until(lambda: browser.has("input[type=password]"), "the sign-in page")
    browser.driver.add_cookie({k: cookies[0][k] for k in ("name", "value", "path")})
    status = browser.js("return fetch('/api/session').then((r) => r.status)")
    tap.same(status, 401, "after signing out the old cookie is worth nothing")
    browser.problems()
