"""Keras with its framework chosen: it reads the choice once, when it is imported. Import it from here."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import keras_hub
import tensorflow as tf

__all__ = ["keras", "keras_hub", "tf"]
