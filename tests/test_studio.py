"""The studio: what its command refuses, and its page clicked through in a real browser."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from tests.browser import browser
from tests.command_lines import call, expect_one_line, start, write_network


def test_a_file_that_is_no_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    for content in (b"hello", b""):
        (tmp_path / "net.safetensors").write_bytes(content)
        assert call("studio", f"--network {tmp_path}/net.safetensors") == 2
        expect_one_line(capsys, "net.safetensors", "not a whole safetensors network file")
    assert call("studio", f"--network {tmp_path}/none") == 2
    expect_one_line(capsys, "no such network file or run directory")


def test_without_gradio_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert call("studio", f"--network {write_network(tmp_path / 'net')}") == 2
    expect_one_line(capsys, "pip install 'stylegan_fast[studio]'")


class Page:
    """The page as a person has it before them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def element(self, selector: str) -> Any:
        return self.wait(lambda: self.driver.find_element("css selector", selector))

    def click(self, selector: str) -> None:
        found = self.element(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        self.wait(lambda: found.is_displayed())
        found.click()

    def type(self, selector: str, text: str) -> None:
        """Into a field, in place of what is in it."""
        from selenium.webdriver.common.keys import Keys

        self.element(selector).send_keys(Keys.CONTROL, "a", Keys.NULL, text, Keys.TAB)

    def picture(self) -> str:
        return str(self.element("#picture img").get_attribute("src"))

    def changes(self, act: Any) -> str:
        """Does something and waits for another picture."""
        before = self.picture()
        act()
        return self.wait(lambda: (src := self.picture()) != before and src)

    @staticmethod
    def wait(condition: Any, seconds: float = 60) -> Any:
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except WebDriverException:
                pass  # not there yet
            assert time.monotonic() < end, "the page did not do what was asked"
            time.sleep(0.05)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A studio of a conditional network with a direction."""
    pytest.importorskip("gradio")
    network = write_network(tmp_path / "net.safetensors", classes=3)
    safetensors.torch.save_file({"smile": torch.randn(8)}, tmp_path / "directions.safetensors")
    process = start("studio", f"--network {network} --directions {tmp_path}/directions.safetensors")
    try:
        assert process.stdout is not None
        match = re.match(r"studio: (http://127\.0\.0\.1:\d+)/", process.stdout.readline())
        assert match
        yield match[1], process
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "")


@pytest.mark.slow
def test_every_knob_changes_the_picture_in_a_browser(
    served: tuple[str, "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    url, process = served
    downloads = tmp_path / "downloads"
    with browser(tmp_path / "profile") as driver:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        driver.get(url)
        page = Page(driver)
        page.picture()
        page.changes(lambda: page.type("#seed input", "7"))
        page.changes(lambda: page.type("#psi input[type=number]", "0.9"))
        page.changes(lambda: page.type("#cutoff input[type=number]", "2"))
        page.changes(lambda: page.type("#towards input[type=number]", "0.5"))
        page.changes(lambda: page.click("#random"))
        page.changes(lambda: page.type("#seed input", "7"))

        page.click("#class input")
        page.changes(lambda: page.click("#class ul [aria-label='2']"))
        for accordion in driver.find_elements("css selector", "button.label-wrap:not(.open)"):
            accordion.click()
        page.changes(lambda: page.click("#mixing input"))
        page.changes(lambda: page.type("#mix-last input[type=number]", "2"))
        page.changes(lambda: page.type("#mix-seed input", "9"))
        page.changes(lambda: page.click("#noise-16 label:nth-of-type(3)"))
        page.changes(lambda: page.click("#noise-16 label:nth-of-type(2)"))
        page.changes(lambda: page.type("#noise-seed input", "4"))
        page.changes(lambda: page.type("#strength-smile input[type=number]", "3"))

        page.click("#download-image")
        page.click("#download-w")
        page.wait(lambda: {p.name for p in downloads.iterdir()} == {"seed0007.png", "seed0007-w.npz"})
        with Image.open(downloads / "seed0007.png") as image:
            assert image.size == (16, 16)
        with np.load(downloads / "seed0007-w.npz") as styles:
            assert styles["w"].shape == (1, 6, 8)

        page.changes(lambda: page.click("#walk"))
        page.changes(lambda: None)  # and goes on by itself
        page.click("#stop")

        def stands_still() -> bool:
            before = page.picture()
            time.sleep(2)
            return page.picture() == before

        page.wait(stands_still)

        hosts = driver.execute_script("return performance.getEntriesByType('resource').map(e => new URL(e.name).host)")
        assert set(hosts) == {url.removeprefix("http://")}
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert process.poll() is None


@pytest.mark.slow
def test_a_port_in_use_is_named(served: tuple[str, "subprocess.Popen[str]"], tmp_path: Path) -> None:
    port = served[0].rpartition(":")[2]
    second = start("studio", f"--network {tmp_path}/net.safetensors --port {port}")
    _, err = second.communicate(timeout=120)
    assert (second.returncode, err.count("\n")) == (2, 1)
    assert f"--port {port}: cannot listen there" in err
