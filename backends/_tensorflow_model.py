"""BERT in Keras: keras_hub's encoder, and Hugging Face's heads on top of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from backends._tensorflow_keras import keras, keras_hub, tf
from backends._tensorflow_weights import Binding, block, dense, layer_norm
from bench.errors import TrialError

ACTIVATION = "gelu_pytorch_tanh"
LAYER_NORM_EPSILON = 1e-12

Arrays = Mapping[str, Any]
Config = Mapping[str, Any]


class Bert:
    """The encoder and the heads of one task. Create it inside the strategy's scope.

    heads: order of the axis in `losses`.
    """

    heads: tuple[str, ...]

    def __init__(self, config: Config, dropout: float) -> None:
        _refuse_other_functions(config)
        self.hidden = int(config["hidden_size"])
        self.encoder = keras_hub.models.BertBackbone(
            vocabulary_size=config["vocab_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            hidden_dim=self.hidden,
            intermediate_dim=config["intermediate_size"],
            dropout=dropout,
            max_sequence_length=config["max_position_embeddings"],
            num_segments=config["type_vocab_size"],
            dtype="float32",
        )

    def losses(self, arrays: Arrays) -> tuple[list[Any], list[Any]]:
        """Per head: the sum of weighted losses, and the sum of the weights. Arrays have the axes (sample, ...)."""
        raise NotImplementedError

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

    def encode(self, arrays: Arrays) -> Mapping[str, Any]:
        outputs: Mapping[str, Any] = self.encoder(
            {
                "token_ids": arrays["input_ids"],
                "segment_ids": arrays["token_type_ids"],
                "padding_mask": arrays["attention_mask"],
            },
            training=True,
        )
        return outputs

    def encoder_bindings(self) -> Iterator[Binding]:
        get = self.encoder.get_layer
        prefix = "bert.embeddings"
        yield Binding(f"{prefix}.word_embeddings.weight", get("token_embedding").embeddings)
        yield Binding(f"{prefix}.position_embeddings.weight", get("position_embedding").position_embeddings)
        yield Binding(f"{prefix}.token_type_embeddings.weight", get("segment_embedding").embeddings)
        yield from layer_norm(prefix, get("embeddings_layer_norm"))
        for index in range(self.encoder.num_layers):
            yield from block(f"bert.encoder.layer.{index}", get(f"transformer_layer_{index}"))


class PretrainingBert(Bert):
    """Masked-LM on the gathered masked positions, its decoder tied to the word embeddings, and next-sentence."""

    heads = ("mlm", "nsp")

    def __init__(self, config: Config, dropout: float) -> None:
        super().__init__(config, dropout)
        activation = first_block(self.encoder)._feedforward_intermediate_dense.activation
        self.transform = keras.layers.Dense(self.hidden, activation=activation, dtype="float32")
        self.transform.build((None, self.hidden))
        self.transform_norm = keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype="float32")
        self.transform_norm.build((None, self.hidden))
        self.decoder_bias = keras.Variable(np.zeros(config["vocab_size"], np.float32), name="decoder_bias")
        self.next_sentence = keras.layers.Dense(2, dtype="float32")
        self.next_sentence.build((None, self.hidden))

    def losses(self, arrays: Arrays) -> tuple[list[Any], list[Any]]:
        encoded = self.encode(arrays)
        masked = tf.gather(encoded["sequence_output"], arrays["masked_positions"], batch_dims=1)
        masked = self.transform_norm(self.transform(tf.reshape(masked, (-1, self.hidden))))
        embeddings = self.encoder.get_layer("token_embedding").embeddings.value
        logits = tf.matmul(masked, embeddings, transpose_b=True) + self.decoder_bias.value
        masked_weights = tf.reshape(arrays["masked_weights"], (-1,))
        masked_loss = _weighted(logits, tf.reshape(arrays["masked_ids"], (-1,)), masked_weights)
        labels = arrays["next_sentence_labels"]
        ones = tf.ones_like(labels, tf.float32)
        next_loss = _weighted(self.next_sentence(encoded["pooled_output"]), labels, ones)
        return [masked_loss, next_loss], [tf.reduce_sum(masked_weights), tf.reduce_sum(ones)]

    def bindings(self) -> list[Binding]:
        return [
            *self.encoder_bindings(),
            *dense("bert.pooler.dense", self.encoder.get_layer("pooled_dense")),
            Binding("cls.predictions.bias", self.decoder_bias),
            *dense("cls.predictions.transform.dense", self.transform),
            *layer_norm("cls.predictions.transform", self.transform_norm),
            *dense("cls.seq_relationship", self.next_sentence),
        ]


class NerBert(Bert):
    """Token classification. The encoder's pooler exists but is neither trained nor computed, as in Hugging Face."""

    heads = ("ner",)

    def __init__(self, config: Config, dropout: float) -> None:
        super().__init__(config, dropout)
        self.dropout = keras.layers.Dropout(dropout, dtype="float32")
        self.classifier = keras.layers.Dense(len(config["id2label"]), dtype="float32")
        self.classifier.build((None, self.hidden))

    def losses(self, arrays: Arrays) -> tuple[list[Any], list[Any]]:
        sequence = self.dropout(self.encode(arrays)["sequence_output"], training=True)
        logits = self.classifier(tf.reshape(sequence, (-1, self.hidden)))
        weights = tf.reshape(arrays["label_weights"], (-1,))
        return [_weighted(logits, tf.reshape(arrays["labels"], (-1,)), weights)], [tf.reduce_sum(weights)]

    def bindings(self) -> list[Binding]:
        return [*self.encoder_bindings(), *dense("classifier", self.classifier)]

    def dropouts(self) -> list[Any]:
        own = [self.dropout] if self.dropout.rate > 0 else []
        return super().dropouts() + own


MODELS: dict[str, type[Bert]] = {"pretraining": PretrainingBert, "ner": NerBert}


def first_block(encoder: Any) -> Any:
    """The live first layer of the encoder; all are alike."""
    return encoder.get_layer("transformer_layer_0")


def gelu_kind(model: Bert) -> str:
    """ "tanh" or "erf": which GELU the live activation computes, by its value at 1; else its name."""
    activation = first_block(model.encoder)._feedforward_intermediate_dense.activation
    value = float(activation(tf.ones(1, tf.float64))[0])
    known = {"tanh": 0.8411919906082768, "erf": 0.8413447460685429}
    return next((kind for kind, at_one in known.items() if abs(value - at_one) < 1e-7), activation.__name__)


def _weighted(logits: Any, labels: Any, weights: Any) -> Any:
    """Sum of weight times cross-entropy; logits (item, class), labels and weights (item)."""
    return tf.reduce_sum(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _refuse_other_functions(config: Config) -> None:
    """keras_hub's BERT has one GELU and one epsilon; a checkpoint with others would be another function."""
    if config["hidden_act"] != ACTIVATION:
        raise TrialError(f"config.json has hidden_act {config['hidden_act']!r}; keras_hub's BERT has {ACTIVATION} only")
    if config["layer_norm_eps"] != LAYER_NORM_EPSILON:
        raise TrialError(
            f"config.json has layer_norm_eps {config['layer_norm_eps']}; keras_hub's BERT has {LAYER_NORM_EPSILON} only"
        )
