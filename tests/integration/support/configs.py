"""Configurations of the proxy, as dicts that a test changes where it matters."""


def proxy_config(replicas, target=1, *, cluster=None, route=None, listener=None, queue=None,
                 **top):
    """One listener "ingress", one route "/", one cluster "m" over static replicas.

    replicas: addresses, or things with .text_address / .address. The other arguments are merged in.
    """
    config = {
        "admin": {"address": "127.0.0.1:0"},
        "access_log": {"path": "none"},
        "listeners": [{
            "name": "ingress",
            "address": "127.0.0.1:0",
            "routes": [{"prefix": "/", "cluster": "m", **(route or {})}],
            **(listener or {}),
        }],
        "clusters": [{
            "name": "m",
            "concurrency_target": target,
            "replicas": {"static": [address_of(replica) for replica in replicas]},
            **({"queue": queue} if queue else {}),
            **(cluster or {}),
        }],
    }
    config.update(top)
    return config


def address_of(replica):
    if isinstance(replica, str):
        return replica
    if hasattr(replica, "text_address"):
        return replica.text_address
    return replica.address
