"""Tests of the dashboard in a real browser: says TAP.

   python3 run.py [PART…]

test/t/084_browser.pl starts a cluster with the database that test/dashboard/seed.sql makes, and the program, and gives
   BROWSER_URL        where the program listens
   BROWSER_URL_MODES  where another one does, which only shows, hides arguments, and stands below /jobs
   BROWSER_DATABASE   the superuser's connection string for the database
   BROWSER_HOME       a folder for the browser's files
   BROWSER_TREE       the source
Roles app, reporting and admin have their names as passwords. The parts change the database, and each uses what it has made itself, or
what the seed has for it.
"""

import os
import sys

import actions
import bulk
import hostile
import keys
import live
import modes
import pages
import rights
import search
import signin
from harness import Browser, Database, Tap

PARTS = [signin, pages, keys, search, live, actions, bulk, hostile, rights, modes]


def main():
    wanted = sys.argv[1:]
    tap = Tap()
    database = Database(os.environ["BROWSER_DATABASE"])
    browser = Browser(os.environ["BROWSER_URL"], os.environ["BROWSER_HOME"])
    browser.database = database.value("SELECT current_database()")
    try:
        for part in PARTS:
            if not wanted or part.__name__ in wanted:
                with tap.part(part.__name__, browser):
                    part.test(tap, browser, database)
    finally:
        browser.end()
    return tap.end()


sys.exit(main())
