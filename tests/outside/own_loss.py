"""An adversarial loss from outside the package: the hinge loss."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu

import ddgan


@ddgan.register("adversarial", "hinge")
class HingeLoss:
    """L_D = relu(1 - D_real) + relu(1 + D_fake), L_G = -D_fake."""

    needs_real: ClassVar[bool] = False

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return relu(1 - d_real) + relu(1 + d_fake)

    def generator(self, d_real, d_fake: Tensor) -> Tensor:
        return -d_fake
