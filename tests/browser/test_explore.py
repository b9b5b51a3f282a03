"""Notebooks in JupyterLab, as a reader has them: explore.ipynb opened, run, pressed, and read; and
an executed one opened."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import expect

from dndiv.paper import explore
from dndiv.paper.files import ROOT

TOKEN = "of-this-test"
PATIENCE = 90  # seconds that a busy machine may take for a step
WIDTHS = {"desk": (1280, 800), "phone": (390, 844)}

PIXELS = """all => all.map(image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
})"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab on a copy of the notebooks, which writes nowhere else."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    shutil.copytree(ROOT / "results/reference/notebooks", home / "notebooks/executed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kinds = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    places = {f"JUPYTER_{kind}": str(home / kind) for kind in kinds}
    places |= {
        f"JUPYTERLAB_{kind}": str(home / kind) for kind in ("SETTINGS_DIR", "WORKSPACES_DIR")
    }
    places |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}
    options = (f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1")
    command = (sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options)
    log, address = home / "log", f"http://127.0.0.1:{port}"
    with log.open("wb") as written:
        server = subprocess.Popen(
            [*command, f"--IdentityProvider.token={TOKEN}"],
            cwd=home / "notebooks",
            env=os.environ | places | {"PYTHONPATH": str(ROOT)},
            stdout=written,
            stderr=written,
        )
    try:
        for _ in range(2 * PATIENCE):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text("utf8")[-2000:]
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()  # and its kernels
        server.wait(PATIENCE)


# Keeps what is told and how often each picture is drawn anew, however quickly: a picture that stays
# the same is not sent again.
WATCH = """() => {
    const images = [...document.querySelectorAll(".widget-image")];
    window.watched = {told: [], drawn: images.map(() => 0)};
    new MutationObserver(changes => {
        watched.told.push(document.querySelector("[role=status]").innerText);
        for (const change of changes) {
            const k = change.type === "attributes" ? images.indexOf(change.target) : -1;
            if (k >= 0) watched.drawn[k] += 1;
        }
    }).observe(document.body, {
        subtree: true, childList: true, characterData: true, attributes: true,
        attributeFilter: ["src"],
    });
}"""


@pytest.fixture(params=WIDTHS)
def opened(lab, browser, request):
    """The notebook, all its cells run; errors of the page fail the test."""
    width, height = WIDTHS[request.param]
    page, wrong = browser.new_page(viewport={"width": width, "height": height}), []
    page.set_default_timeout(1000 * PATIENCE)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{lab}/lab/tree/explore.ipynb?token={TOKEN}&reset")
    page.locator(".jp-Notebook h1").wait_for(state="attached")
    # cells that are run before there is a kernel are not run
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(state="attached")
    if width < 1000:
        page.keyboard.press("Control+b")  # the list of files would leave nothing of a phone
    page.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
    page.locator('.lm-Menu-itemLabel:text-is("Run All Cells")').click()
    page.get_by_role("button", name="Train").wait_for()
    yield page
    page.close()
    assert not wrong


def test_networks_are_trained_and_told_about(opened):
    status, images = opened.get_by_role("status").first, opened.locator(".widget-image")
    train, within = opened.get_by_role("button", name="Train"), {"timeout": 1000 * PATIENCE}

    def pictures():
        expect(images.first).to_have_js_property("complete", True)
        return images.evaluate_all(PIXELS)

    expect(status).to_contain_text("after 5 of 5 epochs", **within)
    width = opened.viewport_size["width"]
    for image in images.all():
        box = image.bounding_box()
        assert box["width"] >= 200 and box["x"] + box["width"] <= width
    if width > 1000:  # controls and the first result are on the first screen
        opened.locator(".jp-Notebook h1").scroll_into_view_if_needed()
        assert train.bounding_box()["y"] > 0 and box["y"] + box["height"] <= 800
    first = pictures()
    opened.evaluate(WATCH)
    train.click()
    opened.wait_for_function("watched.told.some(text => text.includes('epoch 0.'))", **within)
    expect(status).to_contain_text("after 5 of 5 epochs", **within)
    assert all(times > 1 for times in opened.evaluate("watched.drawn"))
    assert len(first) == 3 and pictures() == first  # the same seeds, the same networks

    opened.get_by_role("button", name="Show the code").click()
    lines = opened.locator(".widget-html pre")
    lines.wait_for()
    assert lines.inner_text().strip() == explore.code(explore.Panel().trained).strip()
    opened.get_by_label("units in each").fill("7")
    opened.get_by_label("start of A").select_option("looks-linear")
    expect(lines).to_contain_text('("looks_linear", "decorrelated")', **within)
    train.click()
    expect(status).to_contain_text("make the width even", **within)
    for kind in ("stderr", "error"):
        assert opened.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').count() == 0
    opened.get_by_text("the same numbers: True").wait_for()


def test_what_a_picture_shows_is_said_below_it(lab, browser):
    """To a screen reader as well: JupyterLab gives the picture itself no alternative text."""
    page = browser.new_page(viewport={"width": 1280, "height": 4000})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{lab}/lab/tree/executed/09_sustainability.ipynb?token={TOKEN}&reset")
    outputs = page.locator(".jp-OutputArea-child")
    pictures = outputs.filter(has=page.locator(".jp-RenderedImage img"))
    pictures.nth(1).wait_for()
    for picture in pictures.all():
        said = picture.locator("xpath=following-sibling::*[1]")
        expect(said.locator("small")).to_have_text(re.compile(r"The picture: .{40,}\."))
    for _ in range(2 * PATIENCE):  # a server whose kernel is still starting does not end
        with urllib.request.urlopen(f"{lab}/api/kernels?token={TOKEN}") as kernels:
            if '"execution_state": "idle"' in kernels.read().decode():
                break
        time.sleep(0.5)
    page.close()
