"""Measures of depth over time as the literature defines them, for comparing solves; no part of a solve.

temporal    does depth agree with its neighbour frames: temporal alignment error, flow warping error
"""
