"""Watch a run with your own callback: samples of the same noise as training proceeds.

python examples/own_callback.py --out runs/watched        # two minutes on a CPU
"""

import argparse
from pathlib import Path

import torch
from PIL import Image

import ddgan


class Filmstrip(ddgan.Callback):
    """Keeps a row of samples after iterations 1, 2, 4, 8, ..., and logs their variance."""

    def __init__(self, columns: int = 12) -> None:
        self.columns, self.rows = columns, list[torch.Tensor]()

    def on_step(self, session):
        step = session.state.step
        if session.processes.is_main and step & (step - 1) == 0:  # a power of two
            self.rows.append(session.model().sample(self.columns, seed=0))

    def on_log(self, session, record):
        if self.rows:
            record["variance_of_samples"] = float(self.rows[-1].var(dim=0).mean())

    def on_end(self, session):
        if self.rows:
            rows = [torch.cat(list(row), dim=2) for row in self.rows]  # (1, 8, 8 columns)
            picture = (torch.cat(rows, dim=1)[0] + 1) * 127.5
            image = Image.fromarray(picture.clamp(0, 255).byte().numpy())
            image.resize((4 * image.width, 4 * image.height), Image.Resampling.NEAREST).save(
                session.path / "filmstrip.png"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/watched"))
    parser.add_argument("--smoke", action="store_true", help="only a few iterations, as a test")
    options = parser.parse_args()
    settings = {
        "training.num_iterations": 16 if options.smoke else 2048,
        "training.log_every": 8 if options.smoke else 100,
        "training.score_samples": 0,
    }
    ddgan.train("digits_by_class", out=options.out, callbacks=[Filmstrip()], **settings)
    print(f"one row for each power of two: {options.out / 'filmstrip.png'}; variances in log.jsonl")
