"""May a risk of at most alpha be claimed? Tests of n losses in 0..1, and the upper bounds that belong to them.

A loss is a share: of `width` entries of an image, `misses` are outside their sets, so that whole numbers are carried
and n * risk is never a rounded product. R is the mean loss, kl the divergence of two coins.

| bound | claims when | source |
|---|---|---|
| wsr | max_i sum_{j<=i} ln(1 - nu_j (x_j - alpha)) >= ln(1/delta) | Bates et al. 2021, 3.1.3; Waudby-Smith 2020 |
| bet | sum_i ln(1 - nu (x_i - alpha)) >= ln(1/delta), one nu | a constant bet is predictable; Markov's inequality |
| binomial | beta.ppf(1 - delta, k + 1, n - k) <= alpha | Clopper, Pearson 1934: exact, losses of 0 and 1 alone |
| hb | min of the tails of kl and bentkus <= delta | Bates et al. 2021, 3.1.2; Angelopoulos et al. 2021, prop. 1 |
| kl | R <= alpha and n kl(R, alpha) >= ln(1/delta) | Hoeffding 1963 |
| bentkus | e P[Bin(n, alpha) <= ceil(n R)] <= delta | Bentkus 2004 |
| hoeffding | R + sqrt(ln(1/delta) / 2n) <= alpha | Hoeffding 1963 |
| bernstein | R + s sqrt(2 ln(2/delta) / n) + 7 ln(2/delta) / (3(n - 1)) <= alpha | Maurer, Pontil 2009, theorem 4 |
| clt | R + z_{1-delta} s / sqrt(n) <= alpha | asymptotic only |
| crc | (n R + 1) / (n + 1) <= alpha | Angelopoulos et al. 2022, theorem 1: the mean over calibrations, no delta |
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

TOP = 1 - 1e-10  # roots are looked for up to here, as in the published code
COUNTED = ("binomial", "hb", "kl", "bentkus", "hoeffding", "crc")  # functions of the number of misses alone
MONOTONE = (*COUNTED, "bet")  # never claim less when a loss falls, so that lambda is exact
ORDERED = ("wsr", "anytime")  # depend on the order of the images
MOST_ORDERED, MOST = 2**18, 10**9  # images up to which the least number is looked for: in an order, and by a formula
BOUNDS = ("wsr", "bet", "binomial", "hb", "bentkus", "kl", "hoeffding", "bernstein", "clt")


@dataclass(frozen=True)
class RiskTest:
    """One bound at one alpha and delta for losses of `width` entries.

    bound: a name of BOUNDS, "crc" or "anytime".  alpha, delta: in 0..1; crc has no use for delta.
    """

    bound: str
    alpha: float
    delta: float
    width: int
    published_count: bool = False  # n * risk by the floor of a rounded product (hb, bentkus)

    def __post_init__(self):
        object.__setattr__(self, "alpha", as_level(self.alpha))

    def claims(self, misses):
        """Return whether risk <= alpha may be claimed: bools (...) for misses (..., n), whole numbers in 0..width."""
        misses = np.asarray(misses)
        if self.bound in COUNTED:
            allowed = self.allowed(misses.shape[-1])
            return misses.sum(axis=-1, dtype=np.int64) <= allowed
        return _CAPITAL_OR_BOUND[self.bound](self, misses)

    def allowed(self, number):
        """Return the most misses in all with which a counted bound claims at `number` images, -1 for never."""
        if self.bound == "crc":
            exact = as_fraction(self.alpha)
            return min(math.floor(self.width * (exact * (number + 1) - 1)), number * self.width)
        low, high = -1, number * self.width
        while low < high:  # claimed at low, or -1; not claimed above high
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._claims_total(middle, number) else (low, middle - 1)
        return low

    def _claims_total(self, total, number):
        mean = total / (number * self.width)
        if self.bound == "hoeffding":
            return mean + math.sqrt(math.log(1 / self.delta) / (2 * number)) <= self.alpha
        if self.bound == "binomial":
            return binomial_bound(total, number, self.delta) <= self.alpha
        tails = []
        if self.bound in ("kl", "hb"):
            tails.append(log_kl_tail(mean, self.alpha, number))
        if self.bound in ("bentkus", "hb"):
            tails.append(log_bentkus_tail(self._whole(total, number), self.alpha, number))
        return mean <= self.alpha and min(tails) <= math.log(self.delta)

    def _whole(self, total, number):
        """Return n * risk as a whole number: its ceiling, which is valid, or the published floor."""
        return math.floor(number * (total / (number * self.width))) if self.published_count else -(-total // self.width)

    def least_images(self):
        """Return the least n at which images without a single miss are enough, None where even `most_images` are not.
        """
        return _least_images(self)

    @property
    def most_images(self):
        """The number of images up to which the least one is looked for."""
        return MOST_ORDERED if self.bound in ORDERED else MOST

    def _claims_none_missed(self, number):
        """Return whether the risk may be claimed of so many images without a miss."""
        if self.bound in COUNTED:
            return self.allowed(number) >= 0 if self.bound == "crc" else self._claims_total(0, number)
        if self.bound == "bet":
            bet = constant_bet(number, self.width, self.alpha, self.delta)
            return number * math.log1p(bet * self.alpha) >= math.log(1 / self.delta)
        if self.bound in ("bernstein", "clt"):
            return number > 1 and _spread_bound_of(self, number, 0.0, 0.0) <= self.alpha
        return bool(self.claims(np.zeros(number, np.int64)))

    def upper_bound(self, misses):
        """Return the upper bound on the risk that misses (n,) give, in 0..1."""
        misses = np.asarray(misses)
        number, total = len(misses), int(misses.sum(dtype=np.int64))
        losses, mean = misses / self.width, total / (len(misses) * self.width)
        if self.bound == "crc":
            return min((number * mean + 1) / (number + 1), 1.0)
        if self.bound == "binomial":
            return binomial_bound(total, number, self.delta)
        if self.bound in ("kl", "bentkus", "hb", "hoeffding"):
            return counted_bound(self.bound, mean, self._whole(total, number), number, self.delta)
        if self.bound in ("bernstein", "clt"):
            return float(min(_spread_bound(self, losses), 1.0))
        if self.bound == "bet":
            bets = np.full(number, constant_bet(number, self.width, self.alpha, self.delta))
            return capital_bound(losses, bets, self.delta, at_end=True)
        return capital_bound(losses, predictable_bets(losses, self.delta, self.bound == "anytime"), self.delta)


@lru_cache(maxsize=64)
def _least_images(test):
    number, most = 1, test.most_images
    while not test._claims_none_missed(number):
        if number == most:
            return None
        number = min(2 * number, most)
    low, high = number // 2, number  # claimed at high; not at low, or low is 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if test._claims_none_missed(middle) else (middle, high)
    return high


def as_level(value):
    """Return a level such as alpha, above 0 and below 1, without the last digits' noise: .1 + .2 is .3."""
    found = float(f"{float(value):.12g}")
    return found if found < 1 else float(value)


def as_fraction(level):
    """Return a level as the exact fraction that its decimal digits say."""
    return Fraction(repr(as_level(level)))


def log_kl_tail(mean, mu, number):
    """Return -n kl(mean, mu), the log of Hoeffding's tail for a mean below mu; 0 at or above mu."""
    if mean >= mu:
        return 0.0
    if mu >= 1:
        return -math.inf
    below = mean * math.log(mean / mu) if mean > 0 else 0.0  # y ln y is 0 at 0
    return -number * (below + (1 - mean) * math.log((1 - mean) / (1 - mu)))


def log_bentkus_tail(count, mu, number):
    """Return 1 + ln P[Bin(n, mu) <= count], the probability floored at 1e-10 as published."""
    from scipy.stats import binom

    return 1 + math.log(max(binom.cdf(count, number, mu), 1e-10))


def counted_bound(bound, mean, count, number, delta):
    """Return the bound "hoeffding", "kl", "bentkus" or "hb" on the risk.

    mean: of n losses.  count: n * mean as a whole number; its ceiling makes Bentkus' bound valid, the published code
    takes the floor.
    """
    from scipy.optimize import brentq

    if bound == "hoeffding":
        return min(mean + math.sqrt(math.log(1 / delta) / (2 * number)), 1.0)

    def excess(mu):
        tails = []
        if bound in ("kl", "hb"):
            tails.append(log_kl_tail(mean, mu, number))
        if bound in ("bentkus", "hb"):
            tails.append(log_bentkus_tail(count, mu, number))
        return min(tails) - math.log(delta)

    if excess(TOP) > 0:
        return 1.0
    start = max(mean, 1e-12)
    return start if excess(start) <= 0 else float(brentq(excess, start, TOP, xtol=1e-13, maxiter=1000))


def binomial_bound(misses, number, delta):
    """Return Clopper and Pearson's upper bound for `misses` losses of 1 among `number` of 0 or 1."""
    from scipy.stats import beta

    return 1.0 if misses >= number else float(beta.ppf(1 - delta, misses + 1, number - misses))


def constant_bet(number, width, alpha, delta):
    """Return nu of the bound "bet", fixed before the losses are seen: float in 0..1 / (1 - alpha).

    The variance it expects is that of a share of `width` entries that are partly dependent.
    """
    variance = alpha * (1 - alpha) * (0.15 + 0.85 / width)
    return min(math.sqrt(2 * math.log(1 / delta) / (number * variance)), 0.999 / (1 - alpha))


def predictable_bets(losses, delta, anytime=False):
    """Return nu_i (..., n) of Waudby-Smith and Ramdas from the losses (..., n) before each.

    anytime: bets that may be looked at after every image; else they are made for n images.
    """
    number = losses.shape[-1]
    place = np.arange(1, number + 1)
    count = 1.0 + place
    mean = np.cumsum(losses, axis=-1)
    mean += 0.5
    mean /= count
    spread = np.square(np.subtract(losses, mean, out=mean), out=mean)
    before = np.empty_like(spread)  # the variance known before image i, from which the bet on it is made
    before[..., 0] = 0.25
    np.cumsum(spread[..., :-1], axis=-1, out=before[..., 1:])
    before[..., 1:] += 0.25
    before[..., 1:] /= count[:-1]
    before *= place * np.log1p(place) if anytime else number
    np.divide(2 * math.log(1 / delta), before, out=before)
    return np.minimum(1, np.sqrt(before, out=before), out=before)


def log_capital(losses, bets, mu):
    """Return sum_{j<=i} ln(1 - nu_j (x_j - mu)) for every i: (..., n)."""
    gain = np.subtract(mu, losses)
    gain *= bets
    gain += 1
    return np.cumsum(np.log(gain, out=gain), axis=-1, out=gain)


def capital_bound(losses, bets, delta, at_end=False):
    """Return the mu at which the capital reaches 1 / delta, at its highest or (at_end) at the last image."""
    from scipy.optimize import brentq

    def excess(mu):
        capital = log_capital(losses, bets, mu)
        return (capital[-1] if at_end else capital.max()) + math.log(delta)

    if excess(TOP) < 0:
        return 1.0
    # a bet above 1 loses more than there is where a loss is far above mu: the capital is 0 there, and no mu claims it
    low = max(1e-10, float((losses - (1 - 1e-9) / bets).max()))
    return low if excess(low) >= 0 else float(brentq(excess, low, TOP, xtol=1e-14, maxiter=1000))


def _claims_by_capital(test, misses):
    losses = misses / test.width
    bets = predictable_bets(losses, test.delta, test.bound == "anytime")
    return log_capital(losses, bets, test.alpha).max(axis=-1) >= math.log(1 / test.delta)


def _claims_by_constant_bet(test, misses):
    bet = constant_bet(misses.shape[-1], test.width, test.alpha, test.delta)
    values = np.log1p(-bet * (np.arange(test.width + 1) / test.width - test.alpha))  # of 0, 1, ... width misses
    rows = misses.reshape(-1, misses.shape[-1])
    counts = np.stack([np.bincount(row, minlength=test.width + 1) for row in rows])
    # summed by number of misses: the order of the images does not reach the last bit
    return ((counts * values).sum(axis=-1) >= math.log(1 / test.delta)).reshape(misses.shape[:-1])


def _spread_bound(test, losses):
    """Return the bound "bernstein" or "clt" (...) of losses (..., n), n > 1."""
    return _spread_bound_of(test, losses.shape[-1], losses.mean(axis=-1), losses.std(axis=-1, ddof=1))


def _spread_bound_of(test, number, mean, spread):
    from scipy.stats import norm

    if test.bound == "clt":
        return mean + norm.ppf(1 - test.delta) * spread / math.sqrt(number)
    log = math.log(2 / test.delta)
    return mean + spread * math.sqrt(2 * log / number) + 7 * log / (3 * (number - 1))


def _claims_by_spread(test, misses):
    if misses.shape[-1] < 2:
        return np.zeros(misses.shape[:-1], bool)
    return _spread_bound(test, misses / test.width) <= test.alpha


_CAPITAL_OR_BOUND = {"wsr": _claims_by_capital, "anytime": _claims_by_capital, "bet": _claims_by_constant_bet,
                     "bernstein": _claims_by_spread, "clt": _claims_by_spread}
