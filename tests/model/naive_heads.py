"""Literal float64 losses of one sample, in plain Python: nothing is shared with the heads under test.

logits: the head's raw outputs of one sample. labels: whole years. age: years.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Values = Sequence[float]


def softmax(values: Values) -> list[float]:
    top = max(values)
    exponentials = [math.exp(value - top) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def moments(probability: Values, labels: Values) -> tuple[float, float]:
    mean = sum(p * k for p, k in zip(probability, labels, strict=True))
    return mean, sum(p * (k - mean) ** 2 for p, k in zip(probability, labels, strict=True))


def rank(labels: Values, age: float) -> int:
    return list(labels).index(math.floor(age + 0.5))


def ce(logits: Values, labels: Values, age: float) -> float:
    return -math.log(softmax(logits)[rank(labels, age)])


def mean_variance(logits: Values, labels: Values, age: float) -> float:
    mean, variance = moments(softmax(logits), labels)
    return ce(logits, labels, age) + 0.2 * (mean - age) ** 2 / 2 + 0.05 * variance


def gaussian_target(labels: Values, age: float, sigma: float = 2) -> list[float]:
    density = [math.exp(-((k - age) ** 2) / (2 * sigma**2)) for k in labels]
    return [value / sum(density) for value in density]


def dldl(logits: Values, labels: Values, age: float) -> float:
    pairs = zip(gaussian_target(labels, age), softmax(logits), strict=True)
    return sum(q * math.log(q / p) for q, p in pairs)


def dldl_v2(logits: Values, labels: Values, age: float) -> float:
    return dldl(logits, labels, age) + abs(moments(softmax(logits), labels)[0] - age)


def sord(logits: Values, labels: Values, age: float) -> float:
    target = [math.exp(-abs(k - age)) for k in labels]
    pairs = zip(target, softmax(logits), strict=True)
    return -sum(q / sum(target) * math.log(p) for q, p in pairs)


def unimodal(logits: Values, labels: Values, age: float) -> float:
    probability, year = softmax(logits), math.floor(age + 0.5)
    mean, variance = moments(probability, labels)
    variance += 0.01
    hinge = 0.0
    for k in range(len(labels) - 1):
        if labels[k + 1] <= year:
            hinge += max(0.0, probability[k] - probability[k + 1])
        elif labels[k] >= year:
            hinge += max(0.0, probability[k + 1] - probability[k])
    return math.log(variance) / 2 + (mean - age) ** 2 / (2 * variance) + 1000 * hinge


def threshold(logit: float, above: bool) -> float:
    return -math.log(sigmoid(logit) if above else 1 - sigmoid(logit))


def coral(logits: Values, labels: Values, age: float) -> float:
    place = rank(labels, age)
    return sum(threshold(logit, place > k) for k, logit in enumerate(logits))


def corn(logits: Values, labels: Values, age: float) -> float:
    place = rank(labels, age)
    return sum(threshold(logit, place > k) for k, logit in enumerate(logits) if place > k - 1)


def survival(logits: Values) -> list[float]:
    """P(age > label k) of conditional logits."""
    return [math.prod(sigmoid(value) for value in logits[: k + 1]) for k in range(len(logits))]


def condor(logits: Values, labels: Values, age: float) -> float:
    edges = [1.0, *survival(logits), 0.0]
    place = rank(labels, age)
    return -math.log(edges[place] - edges[place + 1])


def ordinal_cross_entropy(logits: Values, labels: Values, age: float) -> float:
    place = rank(labels, age)
    pairs = enumerate(survival(logits))
    return -sum(math.log(p) if place > k else math.log(1 - p + 2.0**-23) for k, p in pairs)


def gaussian(outputs: Values, mean: float, std: float, age: float, beta: float) -> float:
    z, variance = (age - mean) / std, math.exp(outputs[1])
    return variance**beta * 0.5 * (math.log(variance) + (z - outputs[0]) ** 2 / variance)


def quantile(outputs: Values, mean: float, std: float, age: float, levels: Values) -> float:
    total = 0.0
    for level, output in zip(levels, outputs, strict=True):
        error = age - (output * std + mean)
        total += level * error if error >= 0 else (level - 1) * error
    return total / len(levels)
