"""Published figures to compare with: Tables 1 to 5 of the paper, and later results where stated."""

from __future__ import annotations

__all__ = [
    "STROKE_SECONDS",
    "TABLE_1",
    "TABLE_1_HEAD",
    "TABLE_2",
    "TABLE_2_HEAD",
    "TABLE_3",
    "TABLE_3_HEAD",
    "TABLE_4",
    "TABLE_5",
]

TABLE_1 = {
    "DDGAN, T = 4": ("9.63", "3.75", ".57", "4", ".21"),
    "DDPM": ("9.46", "3.21", ".57", "1000", "80.5"),
    "Score SDE (VE)": ("9.89", "2.20", ".59", "2000", "423"),
    "Score SDE (VP)": ("9.68", "2.41", ".59", "2000", "421"),
    "Score SDE, probability flow": ("9.83", "3.08", ".57", "140", "50.9"),
    "LSGM": ("9.87", "2.10", ".61", "147", "44.5"),
    "DDIM, 50 steps": ("8.78", "4.67", ".53", "50", "4.01"),
    "FastDDPM, 50 steps": ("8.98", "3.41", ".56", "50", "4.01"),
    "SNGAN": ("8.22", "21.7", ".44", "1", "-"),
    "StyleGAN2": ("9.18", "8.32", ".41", "1", ".04"),
    "StyleGAN2-ADA": ("9.83", "2.92", ".49", "1", ".04"),
    "StyleGAN2 + DiffAug": ("9.40", "5.79", ".42", "1", ".04"),
}
"""CIFAR-10: Inception score, FID, recall, NFE, seconds per 100 images on a V100."""
TABLE_1_HEAD = ("IS", "FID", "recall", "NFE", "s / 100 images")

TABLE_2 = {
    "ddgan-t1": ("8.93", "14.6", ".19"),
    "ddgan-t2": ("9.80", "4.08", ".54"),
    "ddgan-t4": ("9.63", "3.75", ".57"),
    "ddgan-t8": ("9.43", "4.36", ".56"),
    "gan-augmented": ("8.96", "13.2", ".25"),
    "ddgan-x_prev": ("9.10", "6.03", ".53"),
    "ddgan-noise": ("8.79", "8.04", ".52"),
    "ddgan-no-latent": ("8.37", "20.6", ".42"),
}
"""CIFAR-10, keyed by the name of our model: Inception score, FID, recall."""
TABLE_2_HEAD = ("IS", "FID", "recall")

TABLE_3 = {
    "DDGAN": ("1000", ".071"),
    "StyleGAN2": ("940", ".424"),
    "PacGAN": ("992", ".28"),
    "PresGAN": ("1000", ".12"),
    "VAEBM": ("1000", ".087"),
    "Adversarial DSM": ("1000", "1.49"),
    "R3GAN (later)": ("1000", ".029"),
}
"""StackedMNIST: modes of 1,000, KL."""
TABLE_3_HEAD = ("modes", "KL")

TABLE_4 = {
    "DDGAN": ("7.64",),
    "Score SDE": ("7.23",),
    "LSGM": ("7.22",),
    "VQ-GAN": ("10.2",),
    "PGGAN": ("8.03",),
    "NVAE": ("29.7",),
}
"""CelebA-HQ 256: FID."""

TABLE_5 = {"DDGAN": ("5.25",), "DDPM": ("7.89",), "ImageBART": ("7.32",), "StyleGAN2": ("3.86",)}
"""LSUN church 256: FID."""

STROKE_SECONDS = {"DDGAN": 0.16, "SDEdit with a score model": 181.0}
"""Seconds for one stroke-guided image of 256 px."""
