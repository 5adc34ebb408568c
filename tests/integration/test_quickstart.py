"""What the README shows first: the denoise example behind the proxy, started by the proxy.

Promised: configs/quickstart.yaml starts a replica of examples/denoise; a noisy PNG or JPEG posted to it (raw,
or as base64 in JSON) comes back as a denoised PNG of the same size; what is no picture is 400.

Shown: the configuration of the tree on free ports; a synthetic scene with known noise, so that "denoised"
is a number: the distance from the clean scene falls.
"""

import base64
import io
import json

import numpy
import pytest
import yaml
from PIL import Image

from support.h1_client import H1Client
from support.models import EXAMPLES
from support.programs import SOURCE, Proxy


def scene(size=96):
    """A smooth gradient with edges."""
    y, x = numpy.mgrid[0:size, 0:size] / size
    picture = numpy.stack([x, y, (x + y) / 2], axis=2) * 160 + 40
    picture[size // 4 : size // 2, size // 4 : size // 2] = (220, 40, 60)
    return picture


def noisy(clean):
    noise = numpy.random.default_rng(7).normal(0, 18, clean.shape)
    return numpy.clip(clean + noise, 0, 255).astype(numpy.uint8)


def encoded(pixels, form, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, form, **({"quality": 95} if form == "JPEG" else {}))
    return file.getvalue()


def distance(one, other):
    return float(numpy.sqrt(numpy.mean((one.astype(float) - other.astype(float)) ** 2)))


@pytest.fixture(scope="module")
def quickstart():
    config = yaml.safe_load((SOURCE / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    config["admin"] = {"address": "127.0.0.1:0"}
    for listener in config["listeners"]:
        listener["address"] = "127.0.0.1:0"
    config["listeners"][0]["name"] = "ingress"
    config["access_log"] = {"path": "none"}
    proxy = Proxy(config, cwd=SOURCE, ready=False)
    proxy.wait_log("replica ready", timeout=60)
    yield proxy
    complaints = proxy.finish()
    assert not complaints


def post(proxy, body, content_type):
    with H1Client(proxy.address) as client:
        return client.fetch("POST", "/predict", [("content-type", content_type)], body, timeout=60)


def picture_of(answer):
    assert answer.status == 200, answer
    body = answer.body
    if answer.header("content-type", "").startswith("application/json"):
        said = answer.json()
        body = base64.b64decode(next(v for v in said.values() if isinstance(v, str) and len(v) > 200))
    image = Image.open(io.BytesIO(body))
    assert image.format == "PNG"
    return image


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_noisy_picture_comes_back_denoised(quickstart, form):
    clean = scene()
    sent = encoded(noisy(clean), form)
    image = picture_of(post(quickstart, sent, f"image/{form.lower()}"))
    assert image.size == (96, 96)
    before = distance(noisy(clean), clean)
    after = distance(numpy.asarray(image.convert("RGB")), clean)
    assert after < 0.6 * before, (before, after)


def test_base64_in_json(quickstart):
    clean = scene(48)
    body = json.dumps({"image": base64.b64encode(encoded(noisy(clean), "PNG")).decode()}).encode()
    image = picture_of(post(quickstart, body, "application/json"))
    assert distance(numpy.asarray(image.convert("RGB")), clean) < distance(noisy(clean), clean)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_kinds_of_pictures(quickstart, mode):
    image = picture_of(post(quickstart, encoded(noisy(scene(40)), "PNG", mode), "image/png"))
    assert image.size == (40, 40)


@pytest.mark.parametrize("body, content_type", [
    (b"no picture", "image/png"), (b"", "image/png"), (b"{}", "application/json"),
    (b'{"image": "!!!"}', "application/json"), (b"\xff\xd8\xff broken", "image/jpeg")])
def test_what_is_no_picture_is_the_clients_fault(quickstart, body, content_type):
    answer = post(quickstart, body, content_type)
    assert answer.status in (400, 415) and answer.json()["error"]["message"]


def test_the_sample_in_the_example_works(quickstart):
    samples = [file for file in EXAMPLES.joinpath("denoise").iterdir()
               if file.suffix in (".png", ".jpg", ".jpeg")]
    assert samples, "examples/denoise has a small noisy sample"
    sent = Image.open(samples[0])
    answer = post(quickstart, samples[0].read_bytes(), "image/" + samples[0].suffix[1:])
    assert picture_of(answer).size == sent.size
