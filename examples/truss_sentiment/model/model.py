"""Tells whether a text sounds glad or sad, by counting words.

    curl -d '{"text": "What a wonderful day"}' http://127.0.0.1:8090/v1/models/sentiment:predict
"""

import re

WORDS = {
    "good": 1, "great": 2, "happy": 2, "like": 1, "love": 2, "nice": 1, "wonderful": 3,
    "awful": -3, "bad": -1, "boring": -1, "hate": -2, "sad": -2, "terrible": -3, "worse": -1,
}
NEGATIONS = {"not", "no", "never", "isn't", "don't", "doesn't", "wasn't"}


class Model:
    def __init__(self, **kwargs):
        # config, data_dir, secrets and environment; this model needs none of them.
        self._words = {}

    def load(self):
        """Runs once, before the first request: where weights are read."""
        self._words = dict(WORDS)

    def preprocess(self, inputs):
        """Many at a time, and holding no permit: text to words."""
        texts = inputs["text"] if isinstance(inputs["text"], list) else [inputs["text"]]
        return [re.findall(r"[a-z']+", text.lower()) for text in texts]

    def predict(self, batch):
        """At most runtime.predict_concurrency at a time: words to scores."""
        return [self._score(words) for words in batch]

    def postprocess(self, scores):
        """Many at a time again: scores to what the client is told."""
        return {"predictions": [{"label": self._label(score), "score": score} for score in scores]}

    def _score(self, words):
        score = 0
        for before, word in zip([""] + words, words):
            weight = self._words.get(word, 0)
            score += -weight if before in NEGATIONS else weight
        return score

    @staticmethod
    def _label(score):
        return "positive" if score > 0 else "negative" if score < 0 else "neutral"
