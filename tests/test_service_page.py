"""The page in a real browser, on a stand-in for the service: what a reader sees, and what leaves it."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
import zipfile

import numpy as np
from PIL import Image
import pytest

from covid19net.io import write_volume
from covid19net.pipeline import CaseResult
from covid19net.report.case import write_case
from covid19net.volume import Finding
from tests.cases import made_up_case
from tests.chromium import CHROMIUM
from tests.page_server import PAGE, FakeService, serving

EXPECTED = ("status of 401", "status of 429", "status of 404")  # reported of answers that a test asks for
SECONDS = 30_000  # milliseconds a slow machine may take

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium"),
    pytest.mark.skipif(not (PAGE / "index.html").exists(), reason="the page is not built: make page"),
]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with serving(service) as address:
        yield address


@pytest.fixture
def page(browser, url):
    """A page of which no test may see another host asked for, a blocked part or an error."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, accept_downloads=True)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    hosts, wrong = set(), []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
    page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert hosts <= {url.split("/")[2], ""}
    assert [text for text in wrong if not any(known in text for known in EXPECTED)] == []


def store(result: CaseResult, folder: Path) -> Path:
    """A case as the service keeps it, with the CT for the viewer."""
    write_case(result, folder)
    write_volume(result.scan.volume, folder / "ct.nii.gz")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two box lungs, heat in the back of the right one; its grid already runs to the left, back and head."""
    finding = Finding("weights-demonstration", "the network was trained on synthetic images")
    return store(made_up_case(finding), tmp_path_factory.mktemp("done") / "case")


def open_case(page, url: str, job: str) -> None:
    page.goto(f"{url}/#/jobs/{job}")
    page.wait_for_selector("canvas[data-ready]")
    page.wait_for_selector(".letter, .legend .fault")


def picture(page) -> np.ndarray:
    """The canvas as it is on the screen, settled: height, width, colour; what lies over it is left out."""
    page.wait_for_timeout(250)
    shot = page.locator("canvas.stage").screenshot(animations="disabled")
    return np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)[40:-70, 40:-40]


def changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b).max(-1) > 12


def test_age_sex_and_comorbidity_go_with_one_scan_and_are_not_left_for_the_next(page, url, service):
    page.goto(url)
    page.fill("#age", "61")
    page.select_option("#sex", "F")
    page.select_option("#comorbidity", "no")
    two = [{"name": f"{n}.zip", "mimeType": "application/zip", "buffer": b"PK"} for n in (1, 2)]
    page.set_input_files("[aria-label='Zip or files']", two)
    assert "one patient's" in page.locator(".uploads .fault").inner_text()
    assert service.taken == []
    page.set_input_files("[aria-label='Zip or files']", two[:1])
    page.wait_for_selector("tr .badge.queued")
    assert service.patients == [{"age": "61", "sex": "F", "comorbidity": "no"}]
    assert [page.input_value(f"#{name}") for name in ("age", "sex", "comorbidity")] == ["", "", ""]


def test_a_zip_that_is_dropped_is_sent_without_its_name(page, url, service):
    page.goto(url)
    page.fill("#label", "bed <b>7</b>")
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("IM1", b"some bytes")
    page.evaluate(
        """bytes => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "Miller^Anna.zip"));
            for (const name of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(name, { dataTransfer: carried, bubbles: true }));
        }""",
        list(packed.getvalue()),
    )
    page.wait_for_selector("tr .badge.queued")
    assert service.taken == [("bed <b>7</b>", ["000001.zip"])]
    assert page.locator(".scan a").inner_text() == "bed <b>7</b>"  # as text, not as an element
    assert page.locator(".scan b").count() == 0
    assert page.locator(".badge.queued").inner_text() == "Queued, next"


def test_a_folder_is_one_scan_and_what_is_refused_can_be_sent_again(page, url, service, tmp_path):
    folder = tmp_path / "Miller"
    (folder / "S1").mkdir(parents=True)
    for name in ("S1/IM1", "S1/IM2.dcm", ".DS_Store"):
        (folder / name).write_bytes(b"bytes")
    service.refuse = [(429, "2 jobs are waiting, which is the limit")]
    page.goto(url)
    page.locator("input[webkitdirectory]").set_input_files(folder)
    fault = page.locator(".uploads .fault")
    fault.wait_for()
    assert fault.inner_text() == (
        "The queue is full. 2 jobs are waiting, which is the limit. Try again in 30\xa0s."
    )
    page.click(".uploads button:has-text('Try again')")
    page.wait_for_selector("tr .badge.queued")
    assert sorted(service.taken[0][1]) in (["000001", "000002.dcm"], ["000001.dcm", "000002"])
    assert page.locator(".uploads li").count() == 0


def test_the_list_shows_every_state_follows_it_and_filters(page, url, service, done):
    failed = service.add("failed", reason="no CT slices among 3 files", exit_code=2)
    service.add("done", done, label="ward 3")
    running = service.add("running", progress={"stage": "lungs", "fraction": 0.5})
    page.goto(url)
    page.wait_for_selector("tr .badge.running")
    assert page.locator("progress[aria-label=Progress]").evaluate("bar => bar.value") == 0.5
    assert "no CT slices among 3 files" in page.locator(f"[data-job='{failed}']").inner_text()
    row = page.locator("tr", has_text="ward 3").inner_text()
    assert "37\xa0%" in row  # the score of the case made up
    assert "not above the threshold of 80\xa0%" in row
    assert "Demonstration" in row
    service.jobs[running]["state"] = "done"
    page.wait_for_selector(f"[data-job='{running}'] .badge.done")
    page.click(".chip[data-state=failed]")
    assert page.locator("tbody tr").count() == 1
    page.click(".chip[data-state=all]")
    page.fill("input[type=search]", "WARD")
    assert page.locator("tbody tr").count() == 1


def test_a_job_is_cancelled_from_the_list(page, url, service):
    job = service.add("queued")
    page.goto(url)
    page.click(f"[data-job='{job}'] button")
    page.wait_for_selector(f"[data-job='{job}'] .badge.cancelled")
    assert service.jobs[job]["state"] == "cancelled"


def test_slices_and_windows_change_the_picture(page, url, service, done):
    open_case(page, url, service.add("done", done))
    assert page.locator(".readout").inner_text().startswith("Axial 20 of 40 from the feet")  # lungs: 5 to 34
    inside = picture(page)
    for _ in range(2):
        page.keyboard.press("PageUp")
    assert "Axial 40 of 40" in page.locator(".readout").inner_text()
    top = picture(page)
    assert changed(inside, top).mean() > 0.05  # no lung in the last slices
    page.mouse.move(400, 500)
    for _ in range(6):
        page.mouse.wheel(0, 100)  # down, to the feet; one notch is one slice
    assert "Axial 34 of 40" in page.locator(".readout").inner_text()
    assert changed(picture(page), top).mean() > 0.05
    lung = picture(page)
    page.click("text=Mediastinum")
    assert page.locator("[aria-label^='Window centre']").input_value() == "40"
    assert page.locator("[aria-label^='Window width']").input_value() == "400"
    assert changed(picture(page), lung).mean() > 0.2
    page.fill("[aria-label^='Window width']", "2000")
    page.keyboard.press("Tab")
    assert page.locator(".choice [data-key=Mediastinum]").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("key", ["a", "c"])
def test_left_is_left(key, page, url, service, done):
    """The heat of the case lies in the right lung: it is painted beside the letter R, on the left."""
    open_case(page, url, service.add("done", done))
    page.keyboard.press(key)
    page.keyboard.press("g")  # its strongest place
    with_heat = picture(page)
    page.keyboard.press("h")
    hot = changed(with_heat, picture(page))
    assert hot.sum() > 500
    middle = hot.shape[1] / 2
    assert np.flatnonzero(hot.any(0)).max() < middle
    right, left = (page.locator(".letter", has_text=text).bounding_box()["x"] for text in ("R", "L"))
    canvas = page.locator("canvas.stage").bounding_box()
    assert right < canvas["x"] + canvas["width"] / 2 < left
    across = canvas["x"] + 40 + np.flatnonzero(hot.any(0)).mean()
    down = canvas["y"] + 40 + np.flatnonzero(hot.any(1)).mean()
    page.mouse.move(float(across), float(down))
    assert "right lung · heat 100" in page.locator(".readout").inner_text()


def test_three_planes_and_the_bare_scan(page, url, service, done):
    open_case(page, url, service.add("done", done))
    one = picture(page)
    page.keyboard.press("m")
    page.locator(".letter").nth(11).wait_for()  # four a plane
    three = picture(page)
    assert changed(one, three).mean() > 0.1
    page.keyboard.down(" ")
    bare = picture(page)
    page.keyboard.up(" ")
    assert changed(bare, three).any()
    assert not changed(picture(page), three).any()


def test_warnings_come_first_and_a_doubtful_map_is_struck(page, url, service, tmp_path):
    case = made_up_case(
        Finding("out-of-distribution", "this scan is far from the training scans"),
        Finding("map-unreliable", "most of it lies outside the lungs"),
        Finding("orientation-unknown", "no orientation <i>given</i>"),
    )
    evidence = replace(case.map_evidence, inside_lungs=0.1, inside_lungs_over_chance=0.2)
    open_case(page, url, service.add("done", store(replace(case, map_evidence=evidence), tmp_path / "case")))
    titles = page.locator(".banner strong").all_inner_texts()
    assert titles == [
        "This scan is unlike those the network learned from",
        "Left and right are not known",
        "The marked areas are not reliable",
    ]
    assert "No orientation <i>given</i>." in page.locator(".banners").inner_text()
    assert page.locator(".letter").count() == 0  # no side is named
    assert page.locator("#evidence .struck").count() == 1
    assert page.locator("[aria-label='Opacity of the heat map']").input_value() == "0"
    assert page.locator(".strike").is_hidden()
    page.keyboard.press("h")
    assert page.locator(".strike").is_visible()


def test_without_the_scan_the_picture_of_the_report_is_shown(page, url, service, tmp_path):
    write_case(made_up_case(), tmp_path / "case")
    page.goto(f"{url}/#/jobs/{service.add('done', tmp_path / 'case')}")
    page.wait_for_selector("text=were not kept, or have expired")
    assert (
        page.locator("img.montage").evaluate("picture => picture.decode().then(() => picture.naturalWidth)")
        > 100
    )
    assert page.locator("#evidence").is_visible()


def test_a_token_is_asked_for_once_and_sent_in_the_header_only(page, url, service, done):
    service.secret = "s3cret-of-the-reader"
    job = service.add("done", done)
    page.goto(url)
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The service does not take this token.")
    page.fill("#token", service.secret)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"[data-job='{job}']")
    service.asked.clear()
    page.reload()
    page.wait_for_selector(f"[data-job='{job}']")
    open_case(page, url, job)
    page.locator("#files summary").click()
    with page.expect_download() as download:
        page.click("text=All numbers, JSON")
    assert download.value.suggested_filename == f"covid19net-{job[:8]}-result.json"
    asked = [known for _, path, known in service.asked if path.startswith("/v1/")]
    assert len(asked) > 5
    assert all(asked)
    assert service.secret not in page.url
    assert "s3cret" not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
    assert not any("s3cret" in path for _, path, _ in service.asked)


def test_with_a_token_the_report_opens_in_a_tab_as_it_should_look(page, url, service, done):
    service.secret = "s3cret-of-the-reader"
    job = service.add("done", done)
    page.goto(f"{url}/#/jobs/{job}")
    page.fill("#token", service.secret)
    page.keyboard.press("Enter")
    with page.expect_popup() as popup:
        page.click("text=Report (HTML)")
    report = popup.value
    report.wait_for_url("**/v1/tickets/*")
    blocked = []
    report.on("console", lambda message: blocked.append(message.text))
    assert "threshold" in report.locator("body").inner_text()
    assert report.locator("style").evaluate("e => e.sheet.cssRules.length") > 5  # not without its styles
    assert report.evaluate("window.opener") is None
    assert blocked == []
    assert service.secret not in report.url


def test_a_token_that_no_header_can_carry_is_asked_for_again(page, url, service):
    service.secret = "s3cret-of-the-reader"
    page.goto(url)
    page.fill("#token", "\u201cs3cret-of-the-reader\u201d")  # as a letter or a mail has it
    page.keyboard.press("Enter")
    page.wait_for_selector("text=A token has no such characters")
    page.reload()
    page.wait_for_selector("#token")


def test_a_pull_that_fails_is_told(page, url, service):
    pull = {"id": "1" * 32, "owner": "desk", "state": "running", "reason": None, "jobs": []}
    service.pulls = [pull | {"asked": "2999-01-01T00:00:00Z", "ended": None}]
    page.goto(url)
    page.wait_for_selector(".pulls >> text=Being fetched")
    service.pulls[0] |= {"state": "failed", "reason": "pacs: does not have <i>it</i> (HTTP 404)"}
    page.wait_for_selector(".pulls .fault")
    assert page.locator(".pulls .fault").inner_text() == "Failed: pacs: does not have <i>it</i> (HTTP 404)."
    service.pulls[0]["state"] = "done"
    page.wait_for_selector(".pulls", state="hidden")


def test_what_is_out_of_date_or_was_not_delivered_is_told_on_the_list(page, url, service, done):
    send = {"destination": "archive", "file": "dicom/report.sr.dcm", "state": "given up"}
    lost = service.add("done", done, sends=[send, send | {"file": "dicom/lungs.seg.dcm"}])
    old = service.add("done", done)
    service.jobs[old]["followed_by"] = service.add("done", done, follows=old)
    page.goto(url)
    page.wait_for_selector(f"[data-job='{lost}'] >> text=not delivered to archive")
    assert "out of date" in page.locator(f"[data-job='{old}']").inner_text()
    assert page.locator(".scan .reason").count() == 2


def test_a_job_far_down_the_list_is_followed_too(page, url, service):
    old = service.add("running", submitted="2026-11-26T07:00:00Z")
    for _ in range(100):
        service.add("cancelled")
    page.goto(url)
    page.click("text=Show older")
    page.wait_for_selector(f"[data-job='{old}'] .badge.running")
    service.jobs[old]["state"] = "failed"
    page.wait_for_selector(f"[data-job='{old}'] .badge.failed")


def test_while_a_scan_is_analysed_the_focus_stays_and_a_drop_does_not_leave_the_page(page, url, service):
    job = service.add("running", progress={"stage": "lungs", "fraction": 0.2})
    page.goto(f"{url}/#/jobs/{job}")
    page.locator("button", has_text="Cancel").focus()
    service.jobs[job]["progress"] = {"stage": "maps", "fraction": 0.7}
    page.wait_for_selector("text=making the map")
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    kept = """kind => !document.body.dispatchEvent(
        new DragEvent(kind, { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true }))"""
    assert page.evaluate(kept, "dragover")
    assert page.evaluate(kept, "drop")


def test_late_slices_are_told_while_the_case_is_looked_at(page, url, service, tmp_path):
    write_case(made_up_case(), tmp_path / "case")
    job = service.add("done", tmp_path / "case")
    page.clock.install()
    page.goto(f"{url}/#/jobs/{job}")
    page.wait_for_selector("img.montage")
    later = service.add("queued", follows=job)
    service.jobs[job]["followed_by"] = later
    page.clock.fast_forward(20_000)
    page.wait_for_selector("text=There is a newer result")
    assert page.locator(".banner a").get_attribute("href") == f"#/jobs/{later}"


def test_the_page_is_used_by_keys_alone(page, url, service, done):
    service.add("queued")
    job = service.add("done", done, label="first in the list")
    page.goto(url)
    page.wait_for_selector(f"[data-job='{job}']")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("canvas[data-ready]")
    page.keyboard.press("?")
    assert page.locator("dialog[open] dt", has_text="Space").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_selector("table.worklist")


def test_a_job_that_fails_says_why_and_one_that_is_not_there_too(page, url, service):
    job = service.add("failed", reason="the lungs hold 0.1 l", exit_code=3)
    page.goto(f"{url}/#/jobs/{job}")
    page.wait_for_selector("text=The lungs hold 0.1 l.")
    assert "not a chest CT" in page.locator(".lonely").inner_text()
    page.goto(f"{url}/#/jobs/{'0' * 32}")
    page.wait_for_selector("text=There is no such scan")


def test_no_part_of_the_page_is_inline_or_from_elsewhere():
    text = (PAGE / "index.html").read_text()
    assert "style=" not in text
    assert "<style" not in text
    assert "<script>" not in text
    assert "://" not in text
    assert not list(PAGE.rglob("*.wasm"))
    assert "NiiVue" in (PAGE / "assets" / "licences.txt").read_text().replace("Niivue", "NiiVue")
