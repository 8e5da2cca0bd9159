"""Risk-controlling prediction sets (Bates et al. 2021, arXiv 2101.02703) for intervals of many coordinates.

A lower, a point and an upper value for each coordinate are widened by one multiplier lambda, the smallest for which the
expected share of coordinates outside their interval is at most alpha, with probability 1 - delta over the calibration
images. `sets` turns values into the lambda from which each truth is covered, `bounds` holds the tests, `choice` the
rules that pick lambda, `levels` and `splits` say which losses belong together, `outputs` reads and writes outputs.npz.
"""
