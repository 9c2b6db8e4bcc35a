"""A CYBORG step in the style of the public code, for comparison only; written from the formulas.

loss = α · CE + (1 − α) · MSE(N(M_t), H), gradients through everything. What makes it slow there is kept: CAMs are made
sample by sample in Python, the host waits for the device once a sample, and a DenseNet runs its features twice. What
public code does once, while it loads its data, is done once here too: the human maps on the CAM's grid, unless they
move with augmented images, which no public code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from divsal_bench.timing.bare import BareTraining

if TYPE_CHECKING:
    from torch import Tensor

#: Weight of the cross-entropy.
ALPHA = 0.5


class PublishedCyborg(BareTraining):
    """The bare loop with that loss; all training rows have a human map that is not constant.

    The features are those that are pooled, and the class is the true one, as in our own ``cyborg``; public code taps
    other layers, and some of it takes the predicted class, at the same cost.
    """

    wants_maps = True
    human: Tensor | None = None

    def forward(self, images: Tensor, labels: Tensor, maps: Tensor | None, rows: Tensor) -> Tensor:
        """The loss."""
        import torch
        from torch.nn.functional import cross_entropy, mse_loss

        assert maps is not None
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.protocol.precision == "bf16"):
            features = self.net.forward_features(images)  # type: ignore[operator]
            logits = self.net.forward_head(features)  # type: ignore[operator]
            if type(self.net).__name__ == "DenseNet":
                features = self.net.forward_features(images)  # type: ignore[operator]
        self.mark("forward")
        weight = self.net.get_classifier().weight  # type: ignore[operator]
        cams = []
        for number in range(len(labels)):
            own = int(labels[number])  # the host waits for the device here, once a sample
            cam = (weight[own].view(-1, 1, 1) * features[number].float()).sum(0)
            cams.append(min_max(cam))
        human = self.on_grid(maps, rows, (features.shape[-2], features.shape[-1]))
        classification = cross_entropy(logits.float(), labels)
        loss = ALPHA * classification + (1 - ALPHA) * mse_loss(torch.stack(cams), human)
        self.running_loss = loss.item()
        self.running_hits = (logits.argmax(1) == labels).sum().item()
        return loss

    def on_grid(self, maps: Tensor, rows: Tensor, grid: tuple[int, int]) -> Tensor:
        """H of a batch, (B, h, w): of its moved maps, or as it was made when the data was loaded."""
        if any((self.protocol.rotate, self.protocol.scale, self.protocol.shift, self.protocol.flip)):
            return human_maps(maps, grid)
        if self.human is None:
            self.human = human_maps(self.train.maps.float() / 255, grid)
        return self.human[rows]


def human_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps (B, S, S) in [0, 1] on the CAM's grid, each min–max scaled, one by one."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    return torch.stack([min_max(adaptive_avg_pool2d(one[None, None], grid)[0, 0]) for one in maps])


def min_max(one: Tensor) -> Tensor:
    """One map, (h, w), scaled to [0, 1]; a constant one gives NaN, as it does there."""
    shifted = one - one.min()
    return shifted / shifted.max()
