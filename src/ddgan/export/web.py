"""Web: export of a model to a static page that samples and edits images in the browser.

    index.html, page.css, page.js    the page
    worker.js                        the reverse chain, in a thread of its own
    model.onnx                       one denoising step with the weights, see `ddgan.export.onnx`
    model.json                       shapes, the diffusion's tables, names of the classes, sizes of files
    onnxruntime/                     onnxruntime-web's plain WebAssembly build, with its licence

Any static file server is enough, also below a sub-path, such as GitHub Pages. The page loads nothing from
other addresses. Given the same noise, its images equal those of `model.sample` within a grey level.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddgan.editing.pictures import DEFAULT_ROUNDS, half_strength
from ddgan.export.folder import export_folder, write_export_record
from ddgan.export.onnx import write_step
from ddgan.export.rounding import WeightPrecision
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.weights_file import metadata_of
from ddgan.system.files import sha256_of, write_atomically
from ddgan.system.images import has_png_form
from ddgan.system.text import one_line
from ddgan.system.version import __version__

__all__ = ["export_web"]

PAGE = Path(__file__).with_name("page")
"""The files that every page has."""
RUNTIME, GRAPH, ENGINE = "onnxruntime", "model.onnx", "onnxruntime/ort-wasm-simd-threaded.wasm.gz"
CHECKSUMS = "SHA256SUMS"
MOST_CLASSES = 10_000
"""More classes would not fit into a list of choices."""
TABLES = ("signal_scale", "noise_scale", "step_signal", "step_noise")
"""The tables of the diffusion that edits need; the step's own are in the graph."""
USE = """This folder is a web page that makes images in the browser. It needs a web server, of any kind:

```sh
python -m http.server --directory {name}
```

Then open `http://localhost:8000`. Or copy the folder to any static host, such as GitHub Pages."""


def export_web(
    model: DDGAN,
    out: Path,
    *,
    title: str = "",
    class_names: Sequence[str] = (),
    precision: WeightPrecision = "float32",
) -> dict[str, Any]:
    """Write the page, a card and a record into the folder `out`; returns the record.

    Args:
        model: a DDGAN of images.
        out: the folder to make; an export that is there is replaced.
        title: heading of the page; by default the name of the folder.
        class_names: names of the classes, in order; by default those of data included in the package, else
            numbers.
        precision: how weights are stored: "float32", "fp16" or "int8"; see `rounding`.

    Raises:
        ValueError: if it is not a denoising diffusion GAN of images, the names do not fit its classes, files
            of the package are missing or damaged, or if onnxruntime and PyTorch differ.
    """
    check_ddgan(model, "a web page")
    _check_shape(model)
    names = _names(model, class_names)
    runtime, title = _runtime_files(), one_line(title or out.resolve().name)
    with export_folder(out) as folder:
        difference = write_step(model, folder / GRAPH, precision=precision)
        for path in (*sorted(PAGE.glob("*.*")), *runtime):
            content = path.read_bytes()
            if path.name == "index.html":
                content = content.replace(b"$title", html.escape(title).encode())
            target = folder / path.relative_to(PAGE)
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, content)
        described = description(model, names) | {
            "files": {name: (folder / name).stat().st_size for name in (GRAPH, ENGINE)}
        }
        write_atomically(folder / "model.json", json.dumps(described, indent=1) + "\n")
        write_atomically(folder / "README.md", model_card(model, out.name, use=USE))
        record = {
            "to": "web",
            "precision": precision,
            "title": title,
            "class_names": names,
            "largest_difference": difference,
        }
        return write_export_record(
            folder, record | metadata_of(model.config, model.sample_shape, model.license)
        )


def _runtime_files() -> list[Path]:
    """Return the files of onnxruntime-web in the package, with their licence, after checking them.

    Raises:
        ValueError: naming the file that is missing or not as it was recorded.
    """
    sums = PAGE / RUNTIME / CHECKSUMS
    try:
        expected = [line.split() for line in sums.read_text(encoding="utf-8").splitlines()]
        found = [
            (sums.with_name(name), sha256_of(sums.with_name(name)) == digest) for digest, name in expected
        ]
    except (OSError, ValueError) as error:
        raise ValueError(f"'{sums.parent}' is incomplete ({error}); install ddgan again") from None
    for path, is_intact in found:
        if not is_intact:
            raise ValueError(f"'{path}' is damaged: its checksum is another; install ddgan again")
    return [path for path, _ in found]


def description(model: DDGAN, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the entries of model.json, but for the sizes of files."""
    config, label = model.config, model.config.conditions.label
    return {
        "software": f"ddgan {__version__}",
        "sample_shape": list(model.sample_shape),
        "num_steps": model.diffusion.num_steps,
        "latent_size": config.generator.latent_size,
        "prediction": config.diffusion.prediction,
        "num_classes": model.num_classes,
        "null_class": label is not None and label.dropout > 0,
        "class_names": list(class_names),
        "num_parameters": model.num_parameters,
        "data": one_line(Path(config.data.name).name),  # not the whole path, as a page is public
        "license": one_line(model.license),
        "strength": half_strength(model),
        "rounds": DEFAULT_ROUNDS,
        **{name: getattr(model.diffusion, name).tolist() for name in TABLES},
    }


def _check_shape(model: DDGAN) -> None:
    if not has_png_form(model.sample_shape):
        raise ValueError(
            f"the model makes samples of shape {model.sample_shape}, but a web page shows images of 1 to 4 "
            "channels; use --to onnx"
        )
    if model.num_classes > MOST_CLASSES:
        raise ValueError(
            f"the model has {model.num_classes:,} classes, but a web page lists at most {MOST_CLASSES:,}; "
            "use --to onnx"
        )


def _names(model: DDGAN, given: Sequence[str]) -> list[str]:
    if given and len(given) != model.num_classes:
        raise ValueError(
            f"class_names has {len(given)} names, but the model has {model.num_classes or 'no'} classes; "
            + ("give one for each" if model.num_classes else "leave them out")
        )
    known = given or getattr(model.config.data, "class_names", ())
    return [one_line(name) for name in known] if len(known) == model.num_classes else []
