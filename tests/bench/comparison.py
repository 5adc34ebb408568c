"""Penstock and its peers side by side against one replica: cost, rate, latency."""

import math
import statistics

import load
import proxies
import table


def rounds_of(targets, workload, rounds, seconds, folder):
    """Every target once a round, each round beginning with another, since the machine drifts."""
    results = {id(target): [] for target in targets}
    for turn in range(rounds):
        shift = turn % len(targets)
        for target in targets[shift:] + targets[:shift]:
            results[id(target)].append(load.measure(target, workload, seconds, folder))
    return results


def medians(results):
    """Of the rounds that have figures."""
    whole = [result for result in results if not math.isnan(result.cpu_us)] or results[:1]
    return load.Result(
        cpu_us=statistics.median(result.cpu_us for result in whole),
        per_second=statistics.median(result.per_second for result in whole),
        p50_us=statistics.median(result.p50_us for result in whole),
        p99_us=statistics.median(result.p99_us for result in whole),
        failed=sum(result.failed for result in results))


def ratio(rows, ours, path, peer):
    """Our CPU per request as a share of a peer's on the same path."""
    theirs = rows.get((peer, path), rows.get((f"{peer} (no limit)", path)))
    if theirs is None or not theirs.cpu_us or math.isnan(theirs.cpu_us):
        return "–"
    return f"{ours.cpu_us / theirs.cpu_us:.2f}"


def run(folder, binaries, workload, rounds, seconds):
    """workload: a part of the names of those to measure."""
    workloads = [each for each in load.WORKLOADS if workload in each.name]
    replica = proxies.Replica(folder)
    targets = proxies.start_all(folder, replica, binaries)
    targets += [proxies.Target("no proxy", "h2->h2", replica.h2, replica.program),
                proxies.Target("no proxy", "h1->h1", replica.h1, replica.program)]
    targets.sort(key=lambda target: (proxies.PATHS.index(target.path), target.name))
    try:
        for each in workloads:
            able = [target for target in targets if target.takes_uploads or not each.upload]
            results = rounds_of(able, each, rounds, seconds, folder)
            rows = {(target.name, target.path): medians(results[id(target)]) for target in able}
            spread = {
                (target.name, target.path): [
                    result.cpu_us for result in results[id(target)] if not math.isnan(result.cpu_us)]
                or [math.nan]
                for target in able}
            show(each, rows, spread)
    finally:
        proxies.stop_all(targets)
        replica.program.stop()


def show(workload, rows, spread):
    lines = []
    for (name, path), result in rows.items():
        ours = name == "Penstock"
        cpu = spread[name, path]
        direct = name == "no proxy"
        lines.append([
            path, name,
            "–" if direct else f"{result.cpu_us:.1f}",
            "–" if direct else f"{min(cpu):.1f}–{max(cpu):.1f}",
            f"{result.per_second:.0f}", table.milliseconds(result.p50_us / 1e6),
            table.milliseconds(result.p99_us / 1e6),
            ratio(rows, result, path, "nghttpx") if ours else "",
            ratio(rows, result, path, "HAProxy") if ours else "", str(result.failed)])
    table.show(
        workload.name,
        ["path", "proxy", "CPU µs/request", "range", "requests/s", "p50 ms", "p99 ms",
         "CPU ÷ nghttpx", "CPU ÷ HAProxy", "failed"], lines)
