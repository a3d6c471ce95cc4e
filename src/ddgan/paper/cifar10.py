"""Table 1: CIFAR-10 with the paper's released settings."""

from ddgan.paper.image_tables import ImageTable, image_experiment
from ddgan.paper.published import TABLE_1, TABLE_1_HEAD
from ddgan.paper.scoring import Pass
from ddgan.paper.smoke_data import cifar_like

__all__ = ["EXPERIMENT"]

TABLE = ImageTable(
    preset="cifar10",
    published=TABLE_1,
    head=TABLE_1_HEAD,
    passes=(Pass(("frechet", "inception_score"), "inception"), Pass(("precision_recall",), "vgg16")),
    shared="ddgan-t4",
    make_data=cifar_like,
)
EXPERIMENT = image_experiment(
    TABLE,
    "Table 1",
    "CIFAR-10: Inception score, FID, recall, seconds",
    data="cifar-10-python.tar.gz",
    paper="about 48 h on 4 V100 (1,800 epochs, 351,000 iterations of 256)",
    gpus=4,
)
