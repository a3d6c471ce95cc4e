"""Makes the picture at the top of the README from a trained run.

python docs/pictures/digits.py runs/digits docs/pictures/digits.png
"""

import sys
from pathlib import Path

import numpy as np

import ddgan
from ddgan.system import images

NUM_SAMPLES, COLUMNS, ZOOM = 12, 3, 7

model = ddgan.DDGAN.from_pretrained(sys.argv[1])
tiles = []
for sample in images.to_uint8(model.sample(NUM_SAMPLES)):
    grey = [np.repeat(sample[..., channel : channel + 1], 3, axis=-1) for channel in range(3)]
    tiles.append(images.grid(np.stack([sample, *grey]), columns=4, zoom=ZOOM, gap=3))
images.save_png(images.grid(np.stack(tiles), columns=COLUMNS, gap=16), Path(sys.argv[2]))
