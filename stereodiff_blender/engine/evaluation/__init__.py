"""Measures of depth over time as the literature defines them, for comparing solves; no part of a solve.

scores      how near is depth to the truth: AbsRel, RMSE, delta1, delta2 by the published protocol
temporal    does depth agree with its neighbour frames: temporal alignment error, flow warping error
"""
