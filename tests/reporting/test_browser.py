"""The page in a real browser: on a phone and on a desk, without a network."""

from pathlib import Path
from typing import Any

import pytest

from stylegan_fast.reporting import write_report
from tests.browser import DESKTOP, PHONE, browser
from tests.reporting.runs import write_run

pytestmark = pytest.mark.slow


def brightness(driver: Any) -> int:
    """Of the middle of the second image on the sheet that is shown."""
    script = """
        const image = document.getElementById("sheet"), canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const pen = canvas.getContext("2d"); pen.drawImage(image, 0, 0);
        return pen.getImageData(2 + 66 + 32, 34, 1, 1).data[0];
    """
    return int(driver.execute_script(script))


def move_to(driver: Any, position: int) -> None:
    driver.execute_async_script(
        """
        const range = document.getElementById("when"), sheet = document.getElementById("sheet"), done = arguments[1];
        range.value = arguments[0]; range.dispatchEvent(new Event("input"));
        sheet.decode().then(done);
        """,
        str(position),
    )


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_works_and_fits(size: tuple[int, int], tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path / "run"))
    with browser(tmp_path / "profile", size) as driver:
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0]
        label = driver.find_element("id", "label")
        assert label.text == "9 kimg"
        shown = []
        for position in range(4):
            move_to(driver, position)
            shown.append((label.text, brightness(driver)))
        assert [text for text, _ in shown] == ["before training", "3 kimg", "6 kimg", "9 kimg"]
        assert [value for _, value in shown] == pytest.approx([0, 40, 80, 120], abs=4)  # JPEG

        driver.find_element("id", "play").click()  # from the end: begins anew
        driver.implicitly_wait(0)
        assert label.text in ("before training", "3 kimg")

        chart = driver.find_element("css selector", "svg[data-chart]")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
        webdriver = pytest.importorskip("selenium.webdriver")
        webdriver.ActionChains(driver).move_to_element(chart).perform()
        readout = driver.find_element("css selector", ".readout").text
        assert "kimg: D " in readout
        assert ", G 1" in readout

        text_size = "return Math.min(...[...document.querySelectorAll('p, td, th, li, output, span, b')]"
        smallest = driver.execute_script(text_size + ".map(e => parseFloat(getComputedStyle(e).fontSize)))")
        assert smallest >= 12  # CSS pixels
        requested = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert [address for address in requested if not address.startswith("data:")] == []
        assert driver.get_log("browser") == []
