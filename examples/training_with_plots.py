"""Train, plot and score step by step; in an editor that supports `# %%`, each part is a notebook cell.

python examples/training_with_plots.py --out runs/plots        # three minutes on a CPU
"""

# %% Options
import argparse
import json
import math
from pathlib import Path

import matplotlib.pyplot as plt

import ddgan
from ddgan.data.digits import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, default=Path("runs/plots"))
parser.add_argument("--smoke", action="store_true", help="only a few iterations, as a test")
options, _ = parser.parse_known_args()  # a notebook has its own arguments
run_folder, plots = options.out / "run", options.out / "plots"
plots.mkdir(parents=True, exist_ok=True)

# %% The data: uint8 (1797, 8, 8), and labels
digits, labels = load_digits()
figure, axes = plt.subplots(2, 10, figsize=(8, 2), layout="constrained")
for axis, image, label in zip(axes.flat, digits[:20], labels[:20], strict=True):
    axis.imshow(image, cmap="gray")
    axis.set(title=label, xticks=[], yticks=[])
figure.savefig(plots / "data.png")

# %% Training
settings = {"training.num_iterations": 2000, "training.log_every": 50, "training.score_samples": 0}
if options.smoke:
    settings |= {"training.num_iterations": 20, "training.log_every": 5}
run = ddgan.train("digits_by_class", run_folder, data=(digits, labels), overwrite=True, **settings)

# %% The losses
log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
figure, axis = plt.subplots(layout="constrained")
for name, network in (("loss_d", "discriminator"), ("loss_g", "generator")):
    axis.plot([record["step"] for record in log], [record[name] for record in log], label=network)
axis.axhline(2 * math.log(2), color="black", linestyle=":", label="a discriminator that cannot tell")
axis.set(xlabel="iteration", ylabel="loss")
axis.legend()
figure.savefig(plots / "losses.png")

# %% Samples: a column for each class
samples = run.model.sample(80, seed=0, classes=[*range(10)] * 8)
figure, axes = plt.subplots(8, 10, figsize=(6, 5), layout="constrained")
for axis, image in zip(axes.flat, samples, strict=True):
    axis.imshow(image[0], cmap="gray", vmin=-1, vmax=1)
    axis.axis("off")
figure.savefig(plots / "samples.png")

# %% Scores
report = ddgan.evaluate(run.model, metrics=["frechet", "balance"], n=200 if options.smoke else 5000)
print(*(f"{name:<40} {value}" for name, value in report.table()), f"plots are in {plots}", sep="\n")
