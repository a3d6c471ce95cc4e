"""Publishing a model on the Hugging Face Hub, with a model card."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddgan.models.card import USE, model_card
from ddgan.models.hub import hub_reason
from ddgan.models.license import licensed
from ddgan.models.model import TrainedModel
from ddgan.models.run_folder import CONFIG_NAME, GRID_NAME, SCORES_NAME
from ddgan.models.sample_files import has_png_form, save_grid
from ddgan.models.shipped_models import CARD_NAME
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.files import write_atomically
from ddgan.system.outputs import read_record, write_record

__all__ = ["describe", "push_to_hub"]


def push_to_hub(
    model: TrainedModel,
    repo: str,
    *,
    license: str | None = None,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Upload a model to the Hub with a card: settings, scores, a grid of samples, licence.

    Args:
        model: the model to publish, with the scores of the run that it was opened from.
        repo: "user/name"; created if it does not exist.
        license: licence of the weights, an identifier ("apache-2.0") or in words, if they have none yet.
        private: whether a new repository is private.
        token: access token; by default the one stored by `hf auth login`.

    Returns:
        The address of the repository.

    Raises:
        ValueError: if the name is invalid, the weights have another licence, or the upload fails.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ValueError(f"repo is '{repo}'; it must be user/name")
    import huggingface_hub

    with tempfile.TemporaryDirectory() as folder:
        write_folder(licensed(model, license), Path(folder), repo)
        api = huggingface_hub.HfApi(token=token)
        try:
            address = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a model with ddgan")
        except Exception as error:  # the client's errors have no common base class
            raise ValueError(f"'{repo}' could not be uploaded to the Hub: {hub_reason(error)}") from error
    return str(address)


def write_folder(model: TrainedModel, folder: Path, name: str) -> None:
    """Write the files of a repository: weights, settings, a grid of samples, scores of the run, card."""
    model.save(folder / WEIGHTS_NAME)
    describe(model, folder, name, _scores(model))


def describe(
    model: TrainedModel,
    folder: Path,
    name: str,
    scores: Mapping[str, Any] | None,
    *,
    use: str = USE,
    sections: Mapping[str, str] | None = None,
) -> None:
    """Write what describes weights beside them: settings, a grid of samples, scores, card.

    Args:
        model: the model of the weights.
        folder: where they are.
        name: its name, for the card.
        scores: its scores in their JSON form; None for none.
        use: see `model_card`.
        sections: see `model_card`.
    """
    write_atomically(folder / CONFIG_NAME, model.config.to_yaml())
    picture = GRID_NAME if has_png_form(model) else ""
    if picture:
        save_grid(model, folder / GRID_NAME)
    if scores is not None:
        write_record(folder / SCORES_NAME, scores)
    card = model_card(model, name, scores=scores, picture=picture, use=use, sections=sections)
    write_atomically(folder / CARD_NAME, card)


def _scores(model: TrainedModel) -> dict[str, Any] | None:
    """Read the scores of the run of the weights; None if it has none."""
    path = None if model.source is None else model.source.with_name(SCORES_NAME)
    if path is None or model.source is None or model.source.name != WEIGHTS_NAME or not path.is_file():
        return None
    try:
        return read_record(path)
    except ValueError as error:
        raise ValueError(f"{error}; remove it or score the run again") from None
