"""How far apart equal work may be: every tolerance of the contract and parity tests, in one place.

docs/equality.md derives those that users see. u is the unit roundoff: float32 6e-8, float16 4.9e-4, bfloat16 3.9e-3.
"""

from __future__ import annotations

# Losses of the same steps, relative, whatever the backend, the replicas and the microbatches.
LOSS = 1e-5
# Gradients of one step against those made by hand in float64: norm of the difference over the norm (see
# arithmetic.relative_errors). Over all tensors, and for one: the two labels' terms of the next-sentence head cancel
# nearly, and so float32 keeps fewer digits of their sum.
GRADIENTS, GRADIENT = 1e-5, 1e-4
# Of eight samples to classify by weights that know nothing: what the labels ask for cancels to a norm of 0.05.
CANCELLING_GRADIENTS = 5e-5
# One update against the optimizer's formula, absolute: a weight near 1 is rounded by u = 6e-8, and an update of up to
# 0.03 is made with a few u of its own. PyTorch's Adafactor takes float32 norms, which are good to 1e-3 only for the
# largest tensors, whose update is 2e-4.
UPDATE = {"adamw": 1.3e-7, "sgd": 1.3e-7, "lamb": 2e-7, "adafactor": 5e-7}
# A gradient that crossed in float16, as GRADIENT: each element is rounded before, in and after the sum, by u each; those
# below 6e-8 are lost. Seen: 9e-4 over all tensors, 3.5e-3 for the keys' weights of the last layer, which are small.
FLOAT16_WIRE_GRADIENT = 1e-2
# Gradients of a step computed in float16, as GRADIENT. Seen: 4.4e-2, where terms cancel nearly.
FLOAT16_GRADIENT = 0.1
# Losses against those in float32, or of two backends, relative. A loss is the mean of some 40 logarithms of about 10
# whose scores are sums of 128 products, each rounded by u, so u / 10 x a few; seen: 7e-6 and 1e-4.
FLOAT16_LOSS, BFLOAT16_LOSS = 5e-5, 1e-3
# What 50 steps of AdamW added to a tensor, relative to it. The least exact are LayerNorm weights: near 1 every step is
# rounded by up to 6e-8, 3.4e-8 in the mean square, in a random walk of 2.4e-7 after 50 steps, times sqrt(2) for two
# backends; at a rate of 1e-4 the steps add up to 7e-4 (a random walk) to 5e-3 (all the same way): 7e-5 to 5e-4, and
# what the other tensors do is seen to stay below 1e-5. Key biases have no gradient but rounding noise, of which Adam
# makes steps of full length: they are left out.
UPDATES_OVER_50_STEPS = 3e-4
