#!/usr/bin/python3
"""check_layers turns red for what it forbids, and only for that."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_layers  # noqa: E402

ALLOWED = [
    ("base/log.cc", "<spdlog/spdlog.h>"),
    ("base/log.cc", "<vector>"),
    ("net/socket.cc", "<event2/event.h>"),
    ("net/tls.cc", "<openssl/ssl.h>"),
    ("base/load_report/load_report_message.cc", "<base/load_report/orca.pb.h>"),
    ("proxy/scaling/external_scaler.cc", "<proxy/scaling/external_scaler.pb.h>"),
    ("net/http/http2_session.cc", "<nghttp2/nghttp2.h>"),
    ("net/http/http1_parser.cc", "<boost/beast/http.hpp>"),
    ("net/http/stream.h", '"net/buffer.h"'),
    ("model_runtime/pipeline.cc", '"base/clock.h"'),
    ("model_runtime/native/library.cc", "<dlfcn.h>"),
    ("proxy/main.cc", "<CLI/CLI.hpp>"),
    ("proxy/composition.cc", '"proxy/filters/router/router.h"'),
    ("proxy/config/loader.cc", '"proxy/filters/router/router.h"'),
    ("proxy/filters/router/router.cc", '"proxy/filters/router/router.h"'),
    ("proxy/filters/router/router.cc", '"proxy/http/filter.h"'),
    ("proxy/admin/clusters_page.cc", "<nlohmann/json.hpp>"),
    ("sidecar/main.cc", '"model_runtime/runtime.h"'),
    ("examples/stages/model.cc", '"model_runtime/model.h"'),
    ("tests/proxy/cluster/admission_queue_test.cc", '"proxy/cluster/admission_queue.h"'),
    ("tests/net/tls_test.cc", "<openssl/x509.h>"),
]

FORBIDDEN = [
    ("base/load_report/load_report.h", "<base/load_report/orca.pb.h>"),
    ("proxy/server.cc", '"base/load_report/orca.pb.h"'),
    ("proxy/server.cc", "<google/protobuf/message_lite.h>"),
    ("base/log.cc", '"net/buffer.h"'),
    ("base/log.h", "<spdlog/spdlog.h>"),
    ("net/buffer.cc", '"proxy/main.h"'),
    ("net/buffer.cc", '"net/http/stream.h"'),
    ("net/buffer.h", "<event2/event.h>"),
    ("net/buffer.cc", "<nghttp2/nghttp2.h>"),
    ("net/http/http1_parser.h", "<boost/beast/http.hpp>"),
    ("model_runtime/pipeline.cc", '"net/event_loop.h"'),
    ("model_runtime/pipeline.cc", "<dlfcn.h>"),
    ("model_runtime/pipeline.cc", "<cuda_runtime.h>"),
    ("proxy/worker.cc", '"model_runtime/model.h"'),
    ("proxy/worker.cc", '"sidecar/main.h"'),
    ("proxy/worker.cc", "<event2/event.h>"),
    ("proxy/worker.cc", "<openssl/ssl.h>"),
    ("proxy/worker.cc", "<CLI/CLI.hpp>"),
    ("proxy/upstream/pool.cc", "<nlohmann/json.hpp>"),
    ("proxy/admin/clusters_page.h", "<nlohmann/json.hpp>"),
    ("proxy/cluster/cluster.cc", '"proxy/http/exchange.h"'),
    ("proxy/cluster/cluster.cc", '"proxy/filters/router/router.h"'),
    ("proxy/scaling/autoscaler.cc", '"proxy/http/exchange.h"'),
    ("proxy/http/exchange.cc", '"proxy/filters/router/router.h"'),
    ("proxy/filters/router/router.cc", '"proxy/filters/access_log/access_log.h"'),
    ("sidecar/handler.cc", '"proxy/local_reply.h"'),
    ("examples/stages/model.cc", '"sidecar/handler.h"'),
    ("base/clock.h", '"tests/support/manual_clock.h"'),
    ("base/clock.cc", "<gtest/gtest.h>"),
    ("base/clock.cc", "<absl/time/time.h>"),
    ("surprise/new.cc", '"base/clock.h"'),
]


def problems_in(files):
    with tempfile.TemporaryDirectory() as folder:
        for path, include in files:
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as out:
                out.write(f"#pragma once\n#include {include}\n")
        return check_layers.check(Path(folder))


class CheckLayers(unittest.TestCase):
    def test_accepts_what_the_table_allows(self):
        for path, include in ALLOWED:
            with self.subTest(path=path, include=include):
                self.assertEqual(problems_in([(path, include)]), [])

    def test_refuses_what_the_table_forbids(self):
        for path, include in FORBIDDEN:
            with self.subTest(path=path, include=include):
                problems = problems_in([(path, include)])
                self.assertEqual(len(problems), 1, problems)
                self.assertTrue(problems[0].startswith(f"{path}:2: "), problems)

    def test_refuses_a_second_file_for_a_library_that_belongs_in_one(self):
        problems = problems_in(
            [("base/log.cc", "<spdlog/spdlog.h>"), ("base/clock.cc", "<spdlog/spdlog.h>")]
        )
        self.assertEqual(len(problems), 1)
        self.assertIn("spdlog belongs in 1 file", problems[0])

    def test_does_not_look_into_build_folders(self):
        self.assertEqual(problems_in([("build/debug/x.cc", '"proxy/main.h"')]), [])


if __name__ == "__main__":
    unittest.main()
