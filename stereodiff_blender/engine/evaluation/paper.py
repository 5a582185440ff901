"""The paper's own figures (arXiv 2506.20756, tables 1 and 2), to stand beside ours. They were measured by its authors,
with the published weights of the learned networks."""

from __future__ import annotations

TABLE_1 = {
    "Depth Anything V2": {"bonn": (0.1250, 1.7765, 0.8297), "kitti": (0.1758, 4.2583, 0.6872),
                          "scannet": (0.1445, 0.2926, 0.7808), "sintel": (0.3983, 6.5771, 0.5666)},
    "MonST3R, no optimization": {"bonn": (0.0818, 1.2412, 0.9542), "kitti": (0.1661, 4.1881, 0.7387),
                                 "scannet": (0.0907, 0.1631, 0.9162), "sintel": (0.5291, 4.2812, 0.5053)},
    "MonST3R, optimized": {"kitti": (0.1635, 4.0935, 0.7496), "sintel": (0.5118, 4.2606, 0.5263)},
    "DepthCrafter": {"bonn": (0.1104, 1.6817, 0.8955), "kitti": (0.1617, 5.3883, 0.7695),
                     "scannet": (0.1879, 0.4003, 0.6650), "sintel": (0.2861, 6.1423, 0.6972)},
    "DepthAnyVideo": {"bonn": (0.0942, 1.4982, 0.9308), "kitti": (0.1487, 5.3931, 0.8002),
                      "scannet": (0.1834, 0.4202, 0.6771), "sintel": (0.3363, 5.5432, 0.6378)},
    "StereoDiff": {"bonn": (0.0799, 1.2257, 0.9549), "kitti": (0.1469, 4.4183, 0.7764),
                   "scannet": (0.0944, 0.1985, 0.9060), "sintel": (0.3275, 5.2812, 0.5782)},
}
"""AbsRel, RMSE and delta1 of each method by data set; what the paper leaves out is left out."""

PAPER_DATASETS = ("bonn", "kitti", "scannet", "sintel")

BANDS = {
    "DepthCrafter": (0.1104, 0.0152, 0.0215, 0.0238, 0.0286, 0.0206, 0.0112, 0.0062, 0.0023, 0.0012, 0.0009),
    "MonST3R": (0.0822, 0.0130, 0.0149, 0.0142, 0.0149, 0.0142, 0.0144, 0.0116, 0.0077, 0.0062, 0.0067),
    "StereoDiff": (0.0806, 0.0159, 0.0128, 0.0132, 0.0157, 0.0143, 0.0135, 0.0098, 0.0067, 0.0043, 0.0032),
}
"""AbsRel by temporal band F0..F10, on Bonn."""
