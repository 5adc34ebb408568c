"""Sleeps in each stage as long as it is told, and answers when each stage was."""

import time


class Model:
    def preprocess(self, inputs):
        return self._stage(inputs, "preprocess")

    def predict(self, inputs):
        return self._stage(inputs, "predict")

    def postprocess(self, inputs):
        return {"stages": self._stage(inputs, "postprocess")["stages"]}

    @staticmethod
    def _stage(inputs, name):
        start = time.monotonic()
        time.sleep(inputs.get(name + "_ms", 0) / 1e3)
        inputs.setdefault("stages", {})[name] = {"start": start, "end": time.monotonic()}
        return inputs
