"""What the admission queue costs a request, by the number of replicas; see queue_cost.cc."""

import subprocess

import table


def run(binaries, rounds):
    done = subprocess.run([binaries / "queue_cost", str(rounds)], capture_output=True, text=True,
                          timeout=300, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    fewest = [float(cell) for cell in rows[0][1:]]
    table.show(
        "Admission queue alone: CPU per request (aim: 4000 replicas at most 1.5 × 4)",
        ["replicas", "acquire + release ns", "÷ 4 replicas", "hand-over ns", "÷ 4 replicas"],
        [[replicas, acquire, f"{float(acquire) / fewest[0]:.2f}",
          hand_over, f"{float(hand_over) / fewest[1]:.2f}"]
         for replicas, acquire, hand_over in rows])
