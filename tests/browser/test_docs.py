"""The library's reference in a browser."""

import re


def test_it_is_shown_without_a_complaint(pages, browser):
    """Formulas are typeset by a script from a network, which is not asked here."""
    said, page = [], browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.route(re.compile("^http"), lambda route: route.fulfill(body=""))
    for path in ("dndiv", "dndiv/init", "dndiv/integrations/lightning"):
        page.goto((pages / f"{path}.html").as_uri())
        assert page.locator("main .docstring").first.is_visible()
        left = page.locator("main .docstring").all_inner_texts()
        assert not [t for t in left if re.search(r":math:|^={5}", t, re.M)]
    page.close()
    assert not said
