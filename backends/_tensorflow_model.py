"""BERT in Keras: keras_hub's encoder, and Hugging Face's heads on top of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends._tensorflow_keras import keras, keras_hub, tf
from backends._tensorflow_weights import Binding, block, dense, layer_norm
from bench.errors import TrialError
from bench.records import Compute

ACTIVATION = "gelu_pytorch_tanh"
LAYER_NORM_EPSILON = 1e-12
# Keras' mixed precision: float32 variables, products in the low precision, LayerNorms inside in float32.
POLICIES: dict[Compute, str] = {
    "float32": "float32",
    "tf32": "float32",
    "float16": "mixed_float16",
    "bfloat16": "mixed_bfloat16",
}
EMBEDDINGS = ("token_embedding", "position_embedding", "segment_embedding")

Arrays = Mapping[str, Any]
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """One head on one batch: float32 logits (item, class); labels and weights of any shape with as many items."""

    logits: Any
    labels: Any
    weights: Any

    def loss(self) -> Any:
        """Sum of weight times cross-entropy."""
        labels, weights = tf.reshape(self.labels, (-1,)), tf.reshape(self.weights, (-1,))
        return tf.reduce_sum(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self.logits))

    def classes(self) -> Any:
        """The most likely class of each item, int32, in the shape of the labels."""
        return tf.reshape(tf.argmax(self.logits, axis=-1, output_type=tf.int32), tf.shape(self.labels))


class Bert:
    """The encoder and the heads of one task. Create it inside the strategy's scope.

    heads: order of what `score` and `losses` return.
    """

    heads: tuple[str, ...]

    def __init__(self, config: Config, dropout: float, compute: Compute = "float32") -> None:
        _refuse_other_functions(config)
        self.hidden = int(config["hidden_size"])
        self.policy = POLICIES[compute]
        self.encoder = keras_hub.models.BertBackbone(
            vocabulary_size=config["vocab_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            hidden_dim=self.hidden,
            intermediate_dim=config["intermediate_size"],
            dropout=dropout,
            max_sequence_length=config["max_position_embeddings"],
            num_segments=config["type_vocab_size"],
            dtype=self.policy,
        )
        self._keep_sums_in_float32()

    def _keep_sums_in_float32(self) -> None:
        """What Keras' policy would do in the low precision, and PyTorch's autocast does not.

        The gradient of an embedding row is a sum over all its tokens: in bfloat16 it would stop growing at 256 times
        its terms. The softmax of attention, where attention drops units (without, it is in float32 anyway).
        """
        for name in EMBEDDINGS:
            self.encoder.get_layer(name).dtype_policy = "float32"
        for layer in blocks(self.encoder):
            layer._self_attention_layer._softmax.dtype_policy = "float32"

    def score(self, arrays: Arrays, training: bool) -> list[Scored]:
        """Per head. Arrays have the axes (sample, ...)."""
        raise NotImplementedError

    def losses(self, arrays: Arrays) -> tuple[list[Any], list[Any]]:
        """Per head: the sum of weighted losses, and the sum of the weights."""
        scored = self.score(arrays, training=True)
        return [each.loss() for each in scored], [tf.reduce_sum(each.weights) for each in scored]

    def bindings(self) -> list[Binding]:
        """Every trained tensor once."""
        raise NotImplementedError

    def variables(self) -> list[Any]:
        """All that a step may change: trained tensors and the state of the dropout generators."""
        states = [layer.seed_generator.state for layer in self.dropouts() if layer.seed_generator is not None]
        return [binding.variable for binding in self.bindings()] + states

    def dropouts(self) -> list[Any]:
        """Every live layer that drops anything, inside attention as well."""
        found = [layer for layer in self.encoder._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
        return [layer for layer in found if layer.rate > 0]

    def encode(self, arrays: Arrays, training: bool) -> Mapping[str, Any]:
        outputs: Mapping[str, Any] = self.encoder(
            {
                "token_ids": arrays["input_ids"],
                "segment_ids": arrays["token_type_ids"],
                "padding_mask": arrays["attention_mask"],
            },
            training=training,
        )
        return outputs

    def dense(self, units: int, activation: Any = None) -> Any:
        """A layer of a head, with its variables."""
        layer = keras.layers.Dense(units, activation=activation, dtype=self.policy)
        layer.build((None, self.hidden))
        return layer

    def encoder_bindings(self) -> Iterator[Binding]:
        get = self.encoder.get_layer
        prefix = "bert.embeddings"
        yield Binding(f"{prefix}.word_embeddings.weight", get("token_embedding").embeddings)
        yield Binding(f"{prefix}.position_embeddings.weight", get("position_embedding").position_embeddings)
        yield Binding(f"{prefix}.token_type_embeddings.weight", get("segment_embedding").embeddings)
        yield from layer_norm(prefix, get("embeddings_layer_norm"))
        for index, layer in enumerate(blocks(self.encoder)):
            yield from block(f"bert.encoder.layer.{index}", layer)

    def pooler_bindings(self) -> Iterator[Binding]:
        yield from dense("bert.pooler.dense", self.encoder.get_layer("pooled_dense"))


class PretrainingBert(Bert):
    """Masked-LM on the gathered masked positions, its decoder tied to the word embeddings, and next-sentence."""

    heads = ("mlm", "nsp")

    def __init__(self, config: Config, dropout: float, compute: Compute = "float32") -> None:
        super().__init__(config, dropout, compute)
        self.transform = self.dense(self.hidden, blocks(self.encoder)[0]._feedforward_intermediate_dense.activation)
        self.transform_norm = keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype=self.policy)
        self.transform_norm.build((None, self.hidden))
        self.decoder_bias = keras.Variable(np.zeros(config["vocab_size"], np.float32), name="decoder_bias")
        self.next_sentence = self.dense(2)

    def score(self, arrays: Arrays, training: bool) -> list[Scored]:
        encoded = self.encode(arrays, training)
        masked = tf.gather(encoded["sequence_output"], arrays["masked_positions"], batch_dims=1)
        masked = self.transform_norm(self.transform(tf.reshape(masked, (-1, self.hidden))))
        embeddings = self.encoder.get_layer("token_embedding").embeddings.value
        logits = tf.matmul(masked, tf.cast(embeddings, masked.dtype), transpose_b=True)
        logits = tf.cast(logits, tf.float32) + self.decoder_bias.value
        following = tf.cast(self.next_sentence(encoded["pooled_output"]), tf.float32)
        labels = arrays["next_sentence_labels"]
        return [
            Scored(logits, arrays["masked_ids"], arrays["masked_weights"]),
            Scored(following, labels, tf.ones_like(labels, tf.float32)),
        ]

    def bindings(self) -> list[Binding]:
        return [
            *self.encoder_bindings(),
            *self.pooler_bindings(),
            Binding("cls.predictions.bias", self.decoder_bias),
            *dense("cls.predictions.transform.dense", self.transform),
            *layer_norm("cls.predictions.transform", self.transform_norm),
            *dense("cls.seq_relationship", self.next_sentence),
        ]


class ClassifierBert(Bert):
    """Dropout and one dense layer on what the encoder returns as `output`."""

    output: str

    def __init__(self, config: Config, dropout: float, compute: Compute = "float32") -> None:
        super().__init__(config, dropout, compute)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.policy)
        self.classifier = self.dense(len(config["id2label"]))

    def classify(self, arrays: Arrays, training: bool) -> Any:
        """Logits (item, class)."""
        dropped = self.dropout(self.encode(arrays, training)[self.output], training=training)
        return tf.cast(self.classifier(tf.reshape(dropped, (-1, self.hidden))), tf.float32)

    def dropouts(self) -> list[Any]:
        own = [self.dropout] if self.dropout.rate > 0 else []
        return super().dropouts() + own


class NerBert(ClassifierBert):
    """Token classification. The encoder's pooler exists but is neither trained nor computed, as in Hugging Face."""

    heads = ("ner",)
    output = "sequence_output"

    def score(self, arrays: Arrays, training: bool) -> list[Scored]:
        return [Scored(self.classify(arrays, training), arrays["labels"], arrays["label_weights"])]

    def bindings(self) -> list[Binding]:
        return [*self.encoder_bindings(), *dense("classifier", self.classifier)]


class SequenceBert(ClassifierBert):
    """Classification of whole texts, by the pooled first token, as Hugging Face's BertForSequenceClassification."""

    heads = ("classification",)
    output = "pooled_output"

    def score(self, arrays: Arrays, training: bool) -> list[Scored]:
        labels = arrays["labels"]
        return [Scored(self.classify(arrays, training), labels, tf.ones_like(labels, tf.float32))]

    def bindings(self) -> list[Binding]:
        return [*self.encoder_bindings(), *self.pooler_bindings(), *dense("classifier", self.classifier)]


MODELS: dict[str, type[Bert]] = {"pretraining": PretrainingBert, "ner": NerBert, "classification": SequenceBert}


def blocks(encoder: Any) -> list[Any]:
    """The live layers of the encoder, in their order."""
    return [encoder.get_layer(f"transformer_layer_{index}") for index in range(encoder.num_layers)]


def gelu_kind(activation: Any) -> str | None:
    """ "tanh" or "erf": which GELU a live activation computes, by its value at 1; None: it is no GELU."""
    value = float(activation(tf.ones(1, tf.float64))[0])
    known = {"tanh": 0.8411919906082768, "erf": 0.8413447460685429}
    return next((kind for kind, at_one in known.items() if abs(value - at_one) < 1e-7), None)


def _refuse_other_functions(config: Config) -> None:
    """keras_hub's BERT has one GELU and one epsilon; a checkpoint with others would be another function."""
    if config["hidden_act"] != ACTIVATION:
        raise TrialError(f"config.json has hidden_act {config['hidden_act']!r}; keras_hub's BERT has {ACTIVATION} only")
    if config["layer_norm_eps"] != LAYER_NORM_EPSILON:
        raise TrialError(
            f"config.json has layer_norm_eps {config['layer_norm_eps']}; keras_hub's BERT has {LAYER_NORM_EPSILON} only"
        )
