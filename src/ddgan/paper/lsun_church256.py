"""Table 5: LSUN church at 256 px with the paper's released settings."""

from ddgan.paper.image_tables import ImageTable, image_experiment
from ddgan.paper.published import TABLE_5
from ddgan.paper.scoring import Pass
from ddgan.paper.smoke_data import lsun_like

__all__ = ["EXPERIMENT", "TABLE"]

TABLE = ImageTable(
    preset="lsun_church256",
    published=TABLE_5,
    head=("FID",),
    passes=(Pass(("frechet",), "inception"),),
    make_data=lsun_like,
)
EXPERIMENT = image_experiment(
    TABLE,
    "Table 5",
    "LSUN church 256: FID",
    data="church256",
    prepare="ddgan prepare church_outdoor_train_lmdb --size 256 --limit 120000 --out church256",
    paper="about 180 h on 8 V100 (500 epochs, 937,500 iterations of 64)",
    gpus=8,
)
