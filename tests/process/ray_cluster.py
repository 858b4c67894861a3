"""A Ray cluster of three nodes on this machine; prints its address and the nodes' process ids.

Runs until its standard input is closed.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    nodes = [cluster.head_node, cluster.add_node(**NODE), cluster.add_node(**NODE)]
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    print("CLUSTER " + json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
