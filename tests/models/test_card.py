"""The model card shows foreign text as text: no HTML, Markdown, front matter or code comes from it."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ddgan import DDGAN, RunConfig
from ddgan.export.diffusers import USE as DIFFUSERS
from ddgan.models.card import USE, model_card
from hostile import HOSTILE, hostile_model

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
SCORES = {"frechet": {"name": HOSTILE, "value": 1.5}, HOSTILE: 3}


def read(card: str) -> tuple[dict[str, Any], str, list[Token]]:
    """The metadata, the HTML and the blocks of a card."""
    front = re.match(r"---\n(.*?)^---\n", card, re.S | re.M)
    assert front is not None
    body = card[front.end() :]
    return yaml.safe_load(front[1]), RENDERER.render(body), RENDERER.parse(body)


@pytest.mark.parametrize("use", [USE, DIFFUSERS])
def test_hostile_text_is_shown_as_it_is(model: DDGAN, use: str) -> None:
    hostile = hostile_model(model)
    card = model_card(hostile, HOSTILE, scores=SCORES, picture="samples.png", use=use)
    about, html, blocks = read(card)
    assert set(about) == {"license", "license_name", "license_link", "library_name", "pipeline_tag", "tags"}
    assert (about["license"], about["license_link"]) == ("other", "README.md#licence")
    assert re.fullmatch(r"[a-z0-9.-]+", about["license_name"])
    assert [b.content for b in blocks if b.type == "heading_open"] == [""] * 5
    titles = [after.content for b, after in pairwise(blocks) if b.type == "heading_open"]
    assert titles[1:] == ["Licence", "Model", "Scores", "Settings"]
    code, settings = (b for b in blocks if b.type in ("fence", "code_block"))
    assert (code.info, settings.info) == ("python", "yaml")
    strings = [n.value for n in ast.walk(ast.parse(code.content)) if isinstance(n, ast.Constant)]
    assert HOSTILE in strings
    assert RunConfig.from_dict(yaml.safe_load(settings.content)) == hostile.config
    tags = {"h1", "h2", "p", "img", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"<([a-z0-9]+)", html)) <= tags
    assert re.findall("<(?:img|a) [^>]*>", html) == ['<img src="samples.png" alt="A grid of samples" />']
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;|") >= 4  # the licence, the data, two scores
    assert not set(card) & set("\x1b\x07\u202e")


def test_rows_of_the_tables_have_two_cells(model: DDGAN) -> None:
    _, _, blocks = read(model_card(hostile_model(model), "x", scores=SCORES))
    cells = [b.type for b in blocks if b.type in ("tr_open", "td_open")]
    assert cells.count("td_open") == 2 * (cells.count("tr_open") - 2)  # without the two heads


def test_a_licence_of_several_paragraphs_keeps_them(model: DDGAN) -> None:
    words = "First.\n\n    1. Second\n- third"
    card = model_card(DDGAN(model.generator, model.config, model.sample_shape, words), "x")
    assert RENDERER.render(card.split("## Licence\n\n")[1].split("\n\n## Model")[0]) == (
        "<p>First.</p>\n<p>1. Second\n- third</p>\n"
    )


def test_a_licence_without_latin_letters_has_a_name(model: DDGAN) -> None:
    card = model_card(DDGAN(model.generator, model.config, model.sample_shape, "许可证"), "x")
    assert read(card)[0]["license_name"] == "other"
    assert "许可证" in card


def test_lone_surrogates_of_json_can_be_written(model: DDGAN, tmp_path: Path) -> None:
    licensed = DDGAN(model.generator, model.config, model.sample_shape, "a\ud800b")
    (tmp_path / "x.md").write_text(model_card(licensed, "y\udcff"), encoding="utf-8")
    assert r"a\\ud800b" in (tmp_path / "x.md").read_text(encoding="utf-8")
