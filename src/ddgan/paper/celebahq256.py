"""Table 4: CelebA-HQ at 256 px with the paper's released settings."""

from ddgan.paper.image_tables import ImageTable, image_experiment
from ddgan.paper.published import TABLE_4
from ddgan.paper.scoring import Pass
from ddgan.paper.smoke_data import celeba_like

__all__ = ["EXPERIMENT", "TABLE"]

TABLE = ImageTable(
    preset="celebahq256",
    published=TABLE_4,
    head=("FID",),
    passes=(Pass(("frechet",), "inception"),),
    make_data=celeba_like,
)
EXPERIMENT = image_experiment(
    TABLE,
    "Table 4",
    "CelebA-HQ 256: FID",
    data="celeba-lmdb/",
    paper="about 180 h on 8 V100 (800 epochs, 674,400 iterations of 32)",
    gpus=8,
)
