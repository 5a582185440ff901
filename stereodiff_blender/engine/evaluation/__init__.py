"""Solves compared with the truth, as the literature does it; no part of a solve.

scores       how near is depth to the truth: AbsRel, RMSE, delta1, delta2 by the published protocol
temporal     does depth agree with its neighbor frames: temporal alignment error, flow warping error
trajectory   how near are cameras to the truth: ATE, RPE
datasets     clips with truth, in the official layouts
clip_scores  all of it for one solved clip; solving: a data set's clips one by one, as jobs
tables, figures, paper     the report; command: the command line's "evaluate"
"""
