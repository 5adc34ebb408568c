"""Which of many vectors are nearest to a query, by the cosine of the angle between them.

Takes numpy arrays as msgpack (content-type: application/octet-stream, as msgpack-numpy writes it), or
lists as JSON; the answer comes in the format of the request. In Python:

    import msgpack, msgpack_numpy, numpy, requests
    body = msgpack.packb({"vectors": vectors, "query": query, "top": 3}, default=msgpack_numpy.encode)
    answer = requests.post("http://127.0.0.1:8090/v1/models/similarity:predict_binary", data=body,
                           headers={"content-type": "application/octet-stream"})
    msgpack.unpackb(answer.content, object_hook=msgpack_numpy.decode)
"""

import numpy


class Model:
    def preprocess(self, inputs):
        return {
            "vectors": numpy.asarray(inputs["vectors"], dtype=numpy.float32),
            "query": numpy.asarray(inputs["query"], dtype=numpy.float32),
            "top": int(inputs.get("top", 1)),
        }

    def predict(self, inputs):
        vectors, query = inputs["vectors"], inputs["query"]
        lengths = numpy.linalg.norm(vectors, axis=1) * numpy.linalg.norm(query)
        similarity = vectors @ query / numpy.maximum(lengths, 1e-12)
        nearest = numpy.argsort(-similarity)[: inputs["top"]]
        return {"nearest": nearest, "similarity": similarity[nearest]}
