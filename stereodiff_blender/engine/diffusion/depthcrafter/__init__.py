"""Stage 2 by learned weights: one denoising step of DepthCrafter, anchored to stage 1 (paper, section 3.2)."""
