"""The exported page: its files, and in Chromium its images, controls and errors.

Tests in the browser are skipped without playwright or Chromium.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from benchmarks import web as browsing
from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.data.emoji import GROUPS
from ddgan.editing import inpaint, stroke
from ddgan.export import web
from ddgan.export.web import _runtime_files, export_web
from ddgan.system.images import to_levels
from ddgan.system.randomness import ImageNoise
from other_methods import OTHERS, model_of

needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or browsing.browser_path() is None,
    reason="needs playwright, and Chromium or Chrome",
)
Recorded = dict[str, dict[int, list[Tensor]]]
SETTINGS: dict[str, Any] = {
    "data": "emoji",
    "conditions": {"label": {"classes": 9}},
    "generator": {"kind": "mlp", "hidden_features": 16, "num_blocks": 1, "latent_size": 5, "tanh": True},
    "diffusion": {"num_steps": 3},
}


@pytest.fixture(scope="module")
def web_model(make_model: Callable[..., DDGAN]) -> DDGAN:
    """Fully connected, of 3 x 6 x 6 images of nine classes, T = 3."""
    model = make_model(RunConfig.from_dict(SETTINGS), (3, 6, 6))
    model.license = "for <cats> only"
    return model


@pytest.fixture(scope="module")
def site(web_model: DDGAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the command line exports it."""
    place = tmp_path_factory.mktemp("web")
    weights, folder = web_model.save(place / "model.safetensors"), place / "new" / "site"
    arguments = ["export", str(weights), "--to", "web", "--out", str(folder), "--title", 'Cats & "dogs"']
    assert main(arguments) == 0
    return folder


# ------------------------------------------------------------------------------------------- files


def test_the_folder_is_whole_and_says_what_it_is(web_model: DDGAN, site: Path) -> None:
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    own = {"index.html", "page.css", "page.js", "worker.js", "model.json", "model.onnx"}
    assert files == own | {
        *("README.md", "export.json", "onnxruntime/LICENSE.txt", "onnxruntime/ThirdPartyNotices.txt"),
        *("onnxruntime/ort.wasm.bundle.min.js", "onnxruntime/ort-wasm-simd-threaded.wasm.gz"),
    }
    about = json.loads((site / "model.json").read_text(encoding="utf-8"))
    assert about["sample_shape"] == [3, 6, 6]
    assert about["class_names"] == list(GROUPS)
    assert (about["strength"], about["rounds"], about["null_class"]) == (2, 8, True)
    torch.testing.assert_close(torch.tensor(about["signal_scale"]), web_model.diffusion.signal_scale)
    torch.testing.assert_close(torch.tensor(about["step_noise"]), web_model.diffusion.step_noise)
    assert about["files"]["model.onnx"] == (site / "model.onnx").stat().st_size
    record = json.loads((site / "export.json").read_text(encoding="utf-8"))
    assert set(record["files"]) == files - {"export.json"}
    assert record["largest_difference"] <= 1e-4
    assert "<title>Cats &amp; &quot;dogs&quot;</title>" in (site / "index.html").read_text(encoding="utf-8")
    assert "python -m http.server" in (site / "README.md").read_text(encoding="utf-8")


def test_the_page_names_no_other_address(site: Path) -> None:
    for name in ("index.html", "page.css", "page.js", "worker.js"):
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", (site / name).read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org"}, name  # the name of SVG, which is not loaded


def test_the_runtime_is_as_recorded_and_a_damaged_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {path.name for path in _runtime_files()}
    assert {"LICENSE.txt", "ThirdPartyNotices.txt", "ort.wasm.bundle.min.js"} < names
    assert sum(path.stat().st_size for path in _runtime_files()) < 5e6
    shutil.copytree(web.PAGE, tmp_path / "page")
    monkeypatch.setattr(web, "PAGE", tmp_path / "page")
    script = tmp_path / "page" / "onnxruntime" / "ort.wasm.bundle.min.js"
    script.write_bytes(script.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"ort.wasm.bundle.min.js' is damaged.*install ddgan again"):
        _runtime_files()
    script.unlink()
    with pytest.raises(ValueError, match="is incomplete"):
        _runtime_files()


@pytest.mark.slow
def test_the_runtime_is_that_of_the_npm_package(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    readme = (web.PAGE / "onnxruntime" / "README.md").read_text(encoding="utf-8")
    version = re.search(r"onnxruntime-web (\d+\.\d+\.\d+)", readme)
    assert version
    command = ["npm", "pack", f"onnxruntime-web@{version[1]}"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-web {version[1]}")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:

        def content(name: str) -> bytes:
            file = package.extractfile(f"package/dist/{name}")
            assert file is not None
            return file.read()

        files = {path.name: path.read_bytes() for path in _runtime_files()}
        assert files["ort.wasm.bundle.min.js"] == content("ort.wasm.bundle.min.mjs")
        engine = content("ort-wasm-simd-threaded.wasm")
    assert gzip.decompress(files["ort-wasm-simd-threaded.wasm.gz"]) == engine
    assert hashlib.sha256(engine).hexdigest() in readme


def test_models_that_no_page_can_show_are_refused(points_model: DDGAN, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), but a web page shows images of 1 to 4 channels"):
        export_web(points_model, tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", OTHERS)
def test_models_of_other_methods_are_refused_by_name(method: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"trained by the method {method}, but a web page needs"):
        export_web(model_of(method), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_classes_are_checked(web_model: DDGAN, points_model: DDGAN, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 names, but the model has 9 classes; give one for each"):
        export_web(web_model, tmp_path / "site", class_names=["cat", "dog"])
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsing.browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(chromium: Any, site: Path) -> Iterator[Any]:
    """The page below a sub-path, with its first images; it requests nothing from elsewhere."""
    with browsing.served(site.parent) as address:
        page, requested = chromium.new_page(), []
        page.on("request", lambda request: requested.append(request.url))
        opened(page, f"{address}/{site.name}/")
        yield page
        own = ("data:", "blob:", f"{address}/{site.name}/")
        assert [url for url in requested if not url.startswith(own)] == []
        assert len(requested) > 5
        page.close()


def opened(page: Any, address: str) -> Any:
    page.goto(address)
    page.wait_for_selector(browsing.IDLE, timeout=60_000)
    return page


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The noise that PyTorch draws from now on, by purpose and image."""
    found: Recorded = defaultdict(lambda: defaultdict(list))

    class Recorder(ImageNoise):
        def __init__(
            self, seed: int, indices: range, device: torch.device | str = "cpu", purpose: str = "image"
        ) -> None:
            super().__init__(seed, indices, device, purpose)
            self.indices, self.purpose = indices, purpose

        def __call__(self, *shape: int) -> Tensor:
            drawn = super().__call__(*shape)
            for index, row in zip(self.indices, drawn, strict=True):
                found[self.purpose][index].append(row.flatten())
            return drawn

    for module in ("ddgan.models.model", "ddgan.models.ddgan", "ddgan.editing.pictures"):
        monkeypatch.setattr(f"{module}.ImageNoise", Recorder)
    return found


CALL = """async ({job, given, noise}) => {
  for (const name of ["picture"]) if (given[name]) given[name] = Float32Array.from(given[name]);
  if (noise) given.noise = Object.fromEntries(
    Object.entries(noise).map(([name, rows]) => [name, rows.map((row) => Float32Array.from(row))]));
  const made = await ddgan[job](given);
  return {images: [...made.images], numbers: made.states.length, milliseconds: made.milliseconds};
}"""


def made(page: Any, job: str, recorded: Recorded | None = None, **given: Any) -> np.ndarray:
    """Levels (n, C, H, W) that the page makes, with the recorded noise."""
    noise = None
    if recorded is not None:
        noise = {
            purpose: [torch.cat(rows[index]).tolist() for index in sorted(rows)]
            for purpose, rows in recorded.items()
        }
    found = page.evaluate(CALL, {"job": job, "given": given, "noise": noise})
    shape = page.evaluate("ddgan.ready.then((model) => model.sample_shape)")
    return np.array(found["images"]).reshape(given["n"], *shape)


def apart(images: np.ndarray, expected: Tensor) -> int:
    """The largest difference in grey levels; the images differ from each other."""
    levels = to_levels(expected).numpy().astype(int)
    assert len(levels) == 1 or (levels[0] != levels[1]).any()
    return int(np.abs(images - levels).max())


@needs_browser
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_samples_equal_the_models(batch: int, page: Any, web_model: DDGAN, recorded: Recorded) -> None:
    expected = web_model.sample(5, seed=4)
    labels = [i % 9 for i in range(5)]
    assert apart(made(page, "sample", recorded, n=5, labels=labels, batch=batch), expected) <= 1
    other = made(page, "sample", recorded, n=5, labels=[9] * 5)
    assert apart(other, web_model.sample(5, seed=4, classes=9)) <= 1
    assert apart(other, expected) > 1  # the class matters


@needs_browser
@pytest.mark.parametrize("strength", [0, 1, 2, 3])
def test_strokes_equal_the_models(strength: int, page: Any, web_model: DDGAN, recorded: Recorded) -> None:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = stroke(web_model, picture[None].repeat(3, 1, 1, 1), strength, seed=5, classes=[0, 1, 2])
    given = {"picture": picture.flatten().tolist(), "strength": strength, "labels": [0, 1, 2]}
    images = made(page, "stroke", recorded if strength else None, n=3, **given)
    levels = to_levels(expected).numpy().astype(int)
    assert np.abs(images - levels).max() <= 1
    assert (levels[0] != levels[1]).any() == bool(strength)


@needs_browser
def test_inpainting_equals_the_models(page: Any, web_model: DDGAN, recorded: Recorded) -> None:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:3, 2:] = True
    pictures = picture[None].repeat(3, 1, 1, 1)
    expected = inpaint(web_model, pictures, mask, seed=5, rounds=3, classes=4)
    images = made(
        *(page, "inpaint", recorded),
        n=3,
        rounds=3,
        labels=[4] * 3,
        picture=picture.flatten().tolist(),
        mask=mask.flatten().int().tolist(),
    )
    assert apart(images, expected) <= 1
    kept = to_levels(pictures).numpy()[..., ~mask.numpy()]
    np.testing.assert_array_equal(images[..., ~mask.numpy()], kept)


@needs_browser
def test_the_pages_noise_is_normal_and_keyed(page: Any) -> None:
    call = "(given) => ddgan.noise(given).then((row) => [...row])"

    def noise(seed: int, index: int, purpose: str = "image", count: int = 40_000) -> np.ndarray:
        given = {"seed": seed, "purpose": purpose, "index": index, "count": count}
        return np.array(page.evaluate(call, given))

    rows = [noise(0, 0), noise(0, 1), noise(1, 0), noise(0, 0, "known pixels"), noise(2**32 - 1, 10)]
    for row in rows:
        assert stats.kstest(row, "norm").pvalue > 1e-3
        assert abs(np.corrcoef(row[:-1], row[1:])[0, 1]) < 0.025
        assert abs(np.corrcoef(row[:-1] ** 2, row[1:] ** 2)[0, 1]) < 0.025
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 0.025
    assert stats.kstest(np.concatenate(rows), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(rows[0][:10], noise(0, 0, count=10))


@needs_browser
def test_an_image_depends_on_the_seed_and_its_index_alone(page: Any) -> None:
    few, many = (made(page, "sample", n=n, seed=7, labels=[1] * n) for n in (2, 40))
    assert np.abs(few - many[:2]).max() <= 1
    assert np.abs(few - made(page, "sample", n=2, seed=8, labels=[1] * 2)).max() > 1


@needs_browser
@pytest.mark.slow
def test_a_unet_in_subbands_samples_as_the_model(
    chromium: Any,
    tiny_settings: dict[str, Any],
    make_model: Callable[..., DDGAN],
    tmp_path: Path,
    recorded: Recorded,
) -> None:
    tiny_settings["generator"] = {"kind": "subbands", "network": tiny_settings["generator"]}
    model = make_model(RunConfig.from_dict(tiny_settings), (3, 16, 16))
    export_web(model, tmp_path / "site")
    expected = model.sample(3, seed=1)
    with browsing.served(tmp_path / "site") as address:
        page = opened(chromium.new_page(), address)
        assert apart(made(page, "sample", recorded, n=3), expected) <= 1
        assert not page.is_visible("#class_field")
        page.close()


# ---------------------------------------------------------------------------------- controls


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_visit(width: int, scheme: str, chromium: Any, site: Path, tmp_path: Path) -> None:
    """Generates, looks at the steps, saves, paints, fills; nothing is wider than the screen."""
    from PIL import Image

    def fits() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth") <= width)

    def ran() -> str:
        page.click("#run")
        page.wait_for_selector("#results[aria-busy=false]")
        return str(page.inner_text("#status"))

    def downloaded(button: str) -> Image.Image:
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / download.value.suggested_filename)
        return Image.open(tmp_path / download.value.suggested_filename)

    def drag(*points: tuple[float, float]) -> None:
        page.locator("#picture").scroll_into_view_if_needed()
        box = page.locator("#picture").bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=4)
        page.mouse.up()

    with browsing.served(site) as address:
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        opened(page, address)
        assert fits()
        assert page.inner_text("h1") == 'Cats & "dogs"'
        assert "for <cats> only" in page.inner_text("#about")

        page.fill("#n", "5")
        page.fill("#seed", "12")
        page.select_option("#class", label="Food & Drink")
        assert re.match(r"5 images in .* ms per image", ran())
        tiles = page.locator("#grid button")
        assert tiles.count() == 5
        assert tiles.nth(2).get_attribute("aria-label") == "Image 3, Food & Drink"
        picture = downloaded("#save")
        assert picture.size == (3 * 60 + 2, 2 * 60 + 1)  # 6 pixels, ten times as large
        expected = made(page, "sample", n=5, seed=12, labels=[3] * 5).transpose(0, 2, 3, 1)
        pixels = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(pixels[:60:10, :60:10], expected[0])
        np.testing.assert_array_equal(pixels[61::10, 61:121:10], expected[4])
        tiles.nth(1).click()
        one = np.asarray(downloaded("#save_one").convert("RGB"))
        np.testing.assert_array_equal(one, expected[1])

        page.focus("#step")
        page.keyboard.press("Home")
        assert page.inner_text("#step_value") == "x3"
        assert (np.asarray(downloaded("#save_one").convert("RGB")) != one).any()
        page.keyboard.press("Escape")
        page.click("#play")
        page.wait_for_timeout(3500)
        assert page.inner_text("#step_value") == "x0"

        page.fill("#n", "")
        page.click("#run")  # the browser asks for a number
        assert page.evaluate("!document.getElementById('n').checkValidity()")
        page.fill("#n", "2")

        page.check("[name=mode][value=stroke]", force=True)
        assert page.input_value("#class") == "9"  # no class, as in `ddgan edit`
        page.click("[aria-label='Colour #e53935']")
        drag((0.2, 0.2), (0.8, 0.8))
        red = "document.getElementById('picture').getContext('2d').getImageData({}, {}, 1, 1).data.join()"
        assert page.evaluate(red.format(3, 3)) == "229,57,53,255"
        page.focus("#picture")
        page.keyboard.press("Control+z")
        assert page.evaluate(red.format(3, 3)) != "229,57,53,255"
        page.keyboard.press("ArrowLeft")  # from where the pointer was
        page.keyboard.press("Space")
        assert page.evaluate(red.format(3, 4)) == "229,57,53,255"
        assert fits()
        page.fill("#n", "3")
        assert ran().startswith("3 images in")
        assert page.inner_text("#first_step") == "noisy drawing"

        tiles.nth(0).click()
        page.click("#inpaint_it")
        assert "Nothing is marked yet" in ran()
        drag((0.2, 0.2), (0.2, 0.8))
        page.fill("#n", "3")
        assert ran().startswith("3 images in")
        assert fits()
        Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "green.png")
        page.set_input_files("#file", tmp_path / "green.png")
        page.wait_for_timeout(300)
        assert page.evaluate(red.format(5, 0)) == "10,200,30,255"
        (tmp_path / "text.png").write_text("no image")
        page.set_input_files("#file", tmp_path / "text.png")
        page.wait_for_selector("text=text.png is not an image that this browser can read.")
        assert errors == []
        context.close()


@needs_browser
@pytest.mark.slow
def test_a_long_job_can_be_stopped(chromium: Any, site: Path) -> None:
    with browsing.served(site) as address:
        page = opened(chromium.new_page(), address)
        page.check("[name=mode][value=inpaint]", force=True)
        page.click("#picture")
        page.fill("#rounds", "100")
        page.fill("#n", "256")
        page.click("#run")
        page.click("#stop")
        page.wait_for_selector("#results[aria-busy=false]")
        assert page.inner_text("#status").startswith("Stopped after")
        assert page.is_enabled("#run")
        page.close()


@needs_browser
@pytest.mark.slow
def test_every_control_has_a_name_and_takes_the_keyboard(page: Any) -> None:
    nameless = """[...document.querySelectorAll("button, input:not([type=file]), select, [tabindex]")]
      .filter((e) => !e.getAttribute("aria-label") && !e.textContent.trim() && !e.labels?.length)
      .map((e) => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    reached = set()
    page.focus("[name=mode]:checked")
    for _ in range(12):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
        page.keyboard.press("Tab")
    assert {"mode", "n", "seed", "dice", "class", "run", "save"} <= reached


# ---------------------------------------------------------------------------------- problems


def problem(page: Any, address: str) -> str:
    page.goto(address)
    page.wait_for_selector("#problem:not([hidden])", timeout=60_000)
    assert not page.is_visible("#controls")
    text: str = page.inner_text("#problem")
    page.close()
    return text


@needs_browser
@pytest.mark.slow
def test_a_page_opened_as_a_file_says_that_it_needs_a_server(chromium: Any, site: Path) -> None:
    text = problem(chromium.new_page(), (site / "index.html").as_uri())
    assert "needs a web server" in text
    assert "python -m http.server" in text


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.onnx", "The file model.onnx is missing"),
        ("model.json", "The file model.json is missing"),
        ("worker.js", "The file worker.js is missing"),
        ("onnxruntime/ort.wasm.bundle.min.js", "The file onnxruntime/ort.wasm.bundle.min.js is missing"),
        ("onnxruntime/ort-wasm-simd-threaded.wasm.gz", "ort-wasm-simd-threaded.wasm.gz is missing"),
    ],
)
def test_missing_files_are_named(name: str, words: str, chromium: Any, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    os.remove(tmp_path / "site" / name)
    with browsing.served(tmp_path / "site") as address:
        text = problem(chromium.new_page(), address)
    assert words in text
    assert "Copy the whole folder" in text


@needs_browser
@pytest.mark.slow
def test_damaged_files_are_named(chromium: Any, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "model.onnx").write_text("version https://git-lfs\n")
    with browsing.served(tmp_path / "site") as address:
        text = problem(chromium.new_page(), address)
    assert "The file model.onnx is damaged" in text
    assert "It has 24 bytes instead of" in text
    assert "Git LFS" in text


@needs_browser
@pytest.mark.slow
def test_a_server_that_unpacks_gz_files_is_fine(chromium: Any, site: Path) -> None:
    """Some servers declare .gz files as compressed transfers, which the browser unpacks."""
    with browsing.served(site) as address:
        page = chromium.new_page()
        body = (site / "onnxruntime" / "ort-wasm-simd-threaded.wasm.gz").read_bytes()
        headers = {"content-encoding": "gzip"}
        page.route("**/*.wasm.gz", lambda route: route.fulfill(body=body, headers=headers))
        opened(page, address)
        page.close()


@needs_browser
@pytest.mark.slow
def test_a_browser_without_webassembly_is_told(chromium: Any, site: Path) -> None:
    with browsing.served(site) as address:
        page = chromium.new_page()
        page.add_init_script("delete window.WebAssembly")
        assert "no WebAssembly" in problem(page, address)


GREEDY = """
const grow = WebAssembly.Memory.prototype.grow;
let isFull = false;
WebAssembly.Memory.prototype.grow = function (pages) {
  if (isFull) throw new RangeError("WebAssembly.Memory.grow(): Maximum memory size exceeded");
  return grow.call(this, pages);
};
addEventListener("message", ({data}) => { isFull = data.n > 100; });
"""


@needs_browser
@pytest.mark.slow
def test_too_little_memory_is_told_and_the_page_goes_on(chromium: Any, site: Path) -> None:
    with browsing.served(site) as address:
        page = chromium.new_page()
        body = GREEDY + (site / "worker.js").read_text(encoding="utf-8")
        page.route("**/worker.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))
        opened(page, address)
        given = "{n: 200000, batch: 200000, labels: new Array(200000).fill(0)}"
        assert "not enough memory" in page.evaluate(f"ddgan.sample({given}).catch((e) => e.message)")
        assert len(made(page, "sample", n=2, labels=[0, 0])) == 2
        page.close()
