"""The report in a headless browser without a network: it loads, a hover and a filter click work."""
import base64
import json
import time

import h5py
import numpy as np
import pytest

pytest.importorskip("plotly", reason="plotly is missing")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is missing")

from fp8scope import load, report  # noqa: E402
from fp8scope.page import payload, packed  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
                 "--host-resolver-rules=MAP * ~NOTFOUND"):  # no name resolves: what the page needs is in it
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    except WebDriverException as error:
        pytest.skip(f"chromium does not start: {error.msg.splitlines()[0]}")
    yield driver
    driver.quit()


@pytest.fixture()
def page(browser, result_file, tmp_path):
    path = report(result_file, tmp_path / "report.html")
    browser.get(f"file://{path}")
    return browser


def text(page, css):
    return page.find_element("css selector", css).text


def test_loads_offline_without_an_error(page):
    assert page.get_log("browser") == []
    assert page.find_element("id", "count").text == "24 of 24 tensors, 3 of 3 recipes"
    for chart in ("heat", "sqnr", "bulk", "amax", "exponents", "gemm"):
        assert page.find_elements("css selector", f"#{chart} .main-svg"), chart
    ranges = page.execute_script("return document.getElementById('exponents').data.map(t => t.name)")
    assert ranges == ["elements", "te_delayed:amax_history_len=1", "te_current", "dsv3"]
    assert "http" not in page.execute_script("return [...document.querySelectorAll('[src],link[href]')].map("
                                             "e => e.src || e.href).filter(u => !u.startsWith('data:')).join()")


def test_the_table_shows_the_medians_of_the_file(page, result_file):
    frame = load(result_file).frame()
    rows = frame[(frame["recipe"] == "dsv3") & (frame["operand"] == "x") & (frame["gemm"] == "fprop")]
    shown = [c.text for c in page.find_elements("css selector", "#summary tbody tr:nth-child(3) td")]
    assert shown[0] == "dsv3"
    assert float(shown[1]) == pytest.approx(rows["sqnr_db"].median(), rel=1e-3)


def test_a_hover_names_the_cell(page):
    from selenium.webdriver.common.action_chains import ActionChains

    plot = page.find_element("css selector", "#heat .nsewdrag")
    ActionChains(page).move_to_element(plot).perform()
    deadline = time.time() + 5
    while not page.find_elements("css selector", "#heat .hoverlayer text") and time.time() < deadline:
        time.sleep(0.1)
    assert "sqnr_db" in text(page, "#heat .hoverlayer")


def test_a_click_on_a_cell_shows_its_tensor(page):
    before = page.execute_script("return state.tensor")
    plot = page.find_element("css selector", "#heat .nsewdrag")
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).move_to_element_with_offset(plot, plot.size["width"] // 4, 0).click().perform()
    time.sleep(0.3)
    after = page.execute_script("return state.tensor")
    assert after != before
    assert page.execute_script("return document.getElementById('tensor').value") == str(after)


def test_a_scale_map_shows_the_tiles_of_the_file(page, result_file):
    tiles = load(result_file).columns("tiles")
    tensor, step, recipe, gemm = (tiles[c][0] for c in ("tensor_id", "step", "recipe_id", "gemm_id"))
    page.execute_script(f"state.tensor = {tensor}; drawDetail()")
    label = f"{load(result_file).names('recipe')[recipe]}, step {step}, {load(result_file).names('gemm')[gemm]}"
    page.execute_script("const s = document.getElementById('tile-map');"
                        "s.value = [...s.options].find(o => o.textContent === arguments[0]).value; s.onchange()", label)
    z = page.execute_script("return document.getElementById('tiles').data[0].z")
    assert z[tiles["tile_row"][0]][tiles["tile_col"][0]] == pytest.approx(np.log2(tiles["scale_inv"][0]), abs=1e-5)


def test_filters_narrow_what_is_shown(page):
    page.find_element("css selector", "#recipe-box summary").click()
    page.find_elements("css selector", "#recipe-list input")[0].click()
    assert "2 of 3 recipes" in text(page, "#count")
    assert len(page.find_elements("css selector", "#summary tbody tr")) == 2
    page.find_element("id", "tensor-filter").send_keys("/down.x$/")
    assert text(page, "#count").startswith("3 of 24 tensors")
    page.execute_script("const f = document.getElementById('tensor-filter'); f.value = '/(/';"
                        "f.dispatchEvent(new Event('input'))")  # no regular expression: the filter before it stays
    assert text(page, "#count").startswith("3 of 24 tensors")
    assert page.execute_script("return document.getElementById('tensor-filter').validationMessage")
    page.find_element("id", "reset").click()
    assert text(page, "#count") == "24 of 24 tensors, 3 of 3 recipes"
    assert page.get_log("browser") == []


def test_names_cannot_leave_their_text(result_file, tmp_path, browser):
    evil = "<script>window.hacked=1</script><!--script--><img src=x onerror=window.hacked=1>"
    path = tmp_path / "evil.h5"
    path.write_bytes(result_file.read_bytes())
    with h5py.File(path, "a") as f:
        names = f["lookup/tensor/name"][...]
        names[0] = evil
        f["lookup/tensor/name"][...] = names
    browser.get(f"file://{report(path, tmp_path / 'evil.html', title=evil)}")
    assert browser.execute_script("return window.hacked") is None
    assert browser.title == evil
    assert browser.execute_script("return data.tensors[0]") == evil


def test_columns_are_packed_without_loss(result_file):
    data = payload(load(result_file))
    values = np.frombuffer(base64.b64decode(data["results"]["sqnr_db"]["base64"]), "<f4")
    assert np.array_equal(values, load(result_file).columns("results")["sqnr_db"].astype("f4"))
    assert packed([1, 2], "<i4")["type"] == "<i4"
    json.dumps(data)
