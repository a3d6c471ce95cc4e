"""Make the table of docs/results/learning.md from finished runs: python docs/results/learning.py RUN ..."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ddgan import RunConfig
from ddgan.models.run_folder import read_log


def main(runs: list[str]) -> None:
    """Print a Markdown table with a row per run."""
    print("| run | seed | iterations | minutes | modes | KL (real data) | confident, of the real share |")
    print("|---|---|---|---|---|---|---|")
    for run in map(Path, runs):
        config, last = RunConfig.load(run / "config.yaml"), read_log(run / "log.jsonl")[-1]
        modes = json.loads((run / "scores.json").read_text())["modes"]
        if "confident" in modes:
            share = f"{modes['confident']:.1%}, {modes['confident'] / modes['confident_real']:.3f}"
        else:
            share = f"within 3 sigma {modes['within']:.1%} (real {modes['within_real']:.1%})"
        cells = [
            run.name,
            str(config.seed),
            f"{last['step']:,}",
            f"{last['seconds'] / 60:.1f}",
            f"{modes['modes']} of {modes['num_modes']:,}",
            f"{modes['kl']:.3f} ({modes['kl_floor']:.3f})",
            share,
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
