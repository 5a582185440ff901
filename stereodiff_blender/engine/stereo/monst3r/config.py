"""The measures of a two-view network. NetworkConfig() is the released checkpoint's."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract import StereoDiffError

PATCH_PX = 16
"""Side of the square that becomes one token. The heads' scales are made for it, so it is no setting."""
NORM_EPSILON = 1e-6
POINT_CHANNELS = 4


@dataclass(frozen=True)
class NetworkConfig:
    """width: channels of a token. heads: parts that attention splits it into. mlp_ratio: hidden width / width.

    rope_base: of the rotary position code. level_widths, fusion_width, output_width: channels inside the dense heads,
    finest level first. Raises StereoDiffError "weights_wrong_model" for numbers that no network can have.
    """

    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: int = 4
    rope_base: float = 100.0
    level_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    fusion_width: int = 256
    output_width: int = 128

    def __post_init__(self) -> None:
        for name, width, heads in (("encoder", self.encoder_width, self.encoder_heads),
                                   ("decoder", self.decoder_width, self.decoder_heads)):
            if width < 1 or heads < 1 or width % (4 * heads):
                raise StereoDiffError("weights_wrong_model", f"A width of {width} cannot be split between {heads} "
                                                             f"attention heads of the {name}.")
        smallest = min(self.encoder_depth, self.mlp_ratio, *self.level_widths, self.fusion_width, self.output_width)
        if smallest < 1 or self.decoder_depth < 2 or len(self.level_widths) != 4 or not self.rope_base > 1:
            raise StereoDiffError("weights_wrong_model", f"No network has these measures: {self}.")

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """The layers that the heads look at: 0 is the encoder's output, n the decoder's level n."""
        depth = self.decoder_depth
        return (0, depth // 2, depth * 3 // 4, depth)
