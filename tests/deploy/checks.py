"""What the manifests must agree on among themselves; each check yields what is wrong."""

from manifests import container, containers, labels_of, name_of, option, pod_of, ports, seconds

# Of the proxy's configuration, where the file does not say (configs/full.yaml).
DRAIN_TIMEOUT = "30s"
CANCEL_GRACE = "30s"
# The sidecar's: for the last bytes of its answers; the model server's: docker_server's stop_timeout.
LAST_BYTES_S = 5
SERVER_STOP_S = 10
# How long a pod that is to end is still sent requests: its way out of the endpoints and of DNS.
ENDPOINTS_FOLLOW_S = 5
# kubeadm's and kops's CoreDNS; the longest that is common.
DNS_TTL_S = 30


def selectors(m):
    for deployment in m.all("Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        if not wanted.items() <= labels_of(deployment).items():
            yield f"{name_of(deployment)}: its selector does not match its own pods"
    takes = [(each, each["spec"].get("selector")) for each in m.all("Service")]
    takes += [(each, each["spec"]["selector"]["matchLabels"])
              for each in m.all("PodDisruptionBudget")]
    takes += [(each, each["spec"]["podSelector"]["matchLabels"])
              for each in m.all("NetworkPolicy")]
    for document, selector in takes:
        if len(m.pods(selector)) != 1:
            yield f"{document['kind']} {name_of(document)}: selects no pods, or several kinds"
    for policy, peer in peers(m):
        if "namespaceSelector" not in peer and not m.pods(peer["podSelector"]["matchLabels"]):
            yield f"NetworkPolicy {name_of(policy)}: lets pods in that do not exist"


def peers(m):
    return [(policy, peer) for policy in m.all("NetworkPolicy")
            for rule in policy["spec"]["ingress"] for peer in rule.get("from", [])]


def declared_ports(m):
    for deployment in m.all("Deployment"):
        known = list(ports(deployment))
        if len(known) != len(set(known)):
            yield f"{name_of(deployment)}: a port's name twice"
        for each in containers(deployment):
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                if probe in each and each[probe]["httpGet"]["port"] not in ports(each):
                    yield f"{name_of(deployment)}/{each['name']}: {probe} at an unknown port"
    for service in m.all("Service"):
        for port in service["spec"]["ports"]:
            for deployment in m.pods(service["spec"]["selector"]):
                if port["targetPort"] not in ports(deployment):
                    yield f"Service {name_of(service)}: leads to an unknown port"
                elif service["spec"].get("clusterIP") == "None" \
                        and ports(deployment)[port["targetPort"]] != port["port"]:
                    yield f"Service {name_of(service)}: headless, it does not translate ports"
    for policy in m.all("NetworkPolicy"):
        for deployment in m.pods(policy["spec"]["podSelector"]["matchLabels"]):
            for rule in policy["spec"]["ingress"]:
                for port in rule.get("ports", [{"port": None}]):
                    if port["port"] not in ports(deployment):
                        yield f"NetworkPolicy {name_of(policy)}: opens an unknown port"


def addresses(m):
    """The programs listen where the pod says that they do, and look where others listen."""
    proxy = ports(m.get("Deployment", "penstock-proxy"))
    model = m.get("Deployment", "penstock-model")
    listens = {"http": m.proxy_config["listeners"][0]["address"],
               "admin": m.proxy_config["admin"]["address"],
               "scaler": m.proxy_config["external_scaler"]["address"]}
    for name, address in listens.items():
        if address != f"0.0.0.0:{proxy.get(name)}":
            yield f"the proxy's {name} port is {proxy.get(name)}, but it listens at {address}"
    sidecar = ports(container(model, "sidecar"))["http"]
    if option(container(model, "sidecar"), "listen") != f"0.0.0.0:{sidecar}":
        yield "the sidecar's port is not where it listens"
    server = ports(container(model, "server"))["server"]
    if m.model_config["penstock"]["upstream"] != f"127.0.0.1:{server}":
        yield "the sidecar looks for the model server at another port"
    dns = m.cluster["replicas"]["dns"]
    service = m.get("Service", dns["name"].partition(".")[0])
    if service is None or service["spec"].get("clusterIP") != "None" \
            or dns["name"] != f"{name_of(service)}.{m.namespace}.svc.cluster.local":
        yield "replicas.dns does not name a headless Service"
    elif dns["port"] != sidecar:
        yield "replicas.dns has another port than the sidecar"
    if m.route["cluster"] != m.cluster["name"]:
        yield "the route leads to no cluster"


def volumes(m):
    for deployment in m.all("Deployment"):
        known = {volume["name"]: volume for volume in pod_of(deployment).get("volumes", [])}
        for volume in known.values():
            if "configMap" in volume and m.get("ConfigMap", volume["configMap"]["name"]) is None:
                yield f"{name_of(deployment)}: a ConfigMap that is not there"
        for each in containers(deployment):
            for mount in each.get("volumeMounts", []):
                if mount["name"] not in known:
                    yield f"{name_of(deployment)}/{each['name']}: mounts an unknown volume"
    proxy = container(m.get("Deployment", "penstock-proxy"), "proxy")
    mounted = [f"{mount['mountPath']}/penstock-proxy.yaml" for mount in proxy["volumeMounts"]]
    if proxy["args"][proxy["args"].index("-c") + 1] not in mounted:
        yield "the proxy's configuration is not where it looks"
    sidecar = container(m.get("Deployment", "penstock-model"), "sidecar")
    if option(sidecar, "model") not in [mount["mountPath"] for mount in sidecar["volumeMounts"]]:
        yield "the sidecar's model is not where it looks"


def draining(m):
    """What runs may end: each step of stopping fits into the one around it."""
    longest = seconds(m.route["timeout"]) + seconds(m.cluster.get("cancel_grace", CANCEL_GRACE))
    proxy = m.get("Deployment", "penstock-proxy")
    model = m.get("Deployment", "penstock-model")
    if min(pre_stop(proxy, "proxy"), pre_stop(model, "sidecar")) < ENDPOINTS_FOLLOW_S:
        yield "requests still come to a pod that refuses them"
    if pre_stop(model, "sidecar") <= DNS_TTL_S:
        yield "DNS still names a pod that refuses"
    waits = min(seconds(m.route["timeout"]), seconds(m.cluster["queue"]["timeout"]))
    if seconds(m.proxy_config.get("drain_timeout", DRAIN_TIMEOUT)) < waits:
        yield "waiting requests are refused although the proxy's pod has time"
    admitted = max(longest, seconds(m.proxy_config.get("drain_timeout", DRAIN_TIMEOUT)))
    if pod_of(proxy)["terminationGracePeriodSeconds"] < pre_stop(proxy, "proxy") + admitted:
        yield "the proxy is killed before its requests have ended"
    drain = int(option(container(model, "sidecar"), "drain-timeout"))
    if drain < longest:
        yield "the sidecar cuts off what the proxy still waits for"
    needed = pre_stop(model, "sidecar") + drain + LAST_BYTES_S + SERVER_STOP_S
    if pod_of(model)["terminationGracePeriodSeconds"] < needed:
        yield "the model's pod is killed before it has drained"
    if container(model, "server") in pod_of(model)["containers"] \
            or container(model, "server").get("restartPolicy") != "Always":
        yield "the model server is stopped together with the sidecar that still drains"


def starting(m):
    """A model server that still loads is not taken for a dead one."""
    probe = container(m.get("Deployment", "penstock-model"), "server").get("startupProbe", {})
    allowed = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) if probe else 0
    if allowed < seconds(m.cluster["queue"]["timeout"]):
        yield "the model server is killed while requests still wait for it to load"


def pre_stop(deployment, name):
    return container(deployment, name)["lifecycle"]["preStop"]["sleep"]["seconds"]


def hardening(m):
    for deployment in m.all("Deployment"):
        pod, where = pod_of(deployment), name_of(deployment)
        context = pod["securityContext"]
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{where}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{where}: has a token for the API server"
        for each in containers(deployment):
            own = each.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{where}/{each['name']}: may gain privileges"
            if not own.get("readOnlyRootFilesystem"):
                yield f"{where}/{each['name']}: can write to its image"
            if own.get("capabilities", {}) != {"drop": ["ALL"]}:
                yield f"{where}/{each['name']}: keeps capabilities"
            resources = each.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys() \
                    or "memory" not in resources.get("limits", {}):
                yield f"{where}/{each['name']}: without requests, or without a bound on memory"


def closed_ports(m):
    """Only the proxy's http port is for everybody; the model server is for nobody outside its pod."""
    for policy in m.all("NetworkPolicy"):
        if policy["spec"]["policyTypes"] != ["Ingress"]:
            yield f"NetworkPolicy {name_of(policy)}: not about who may come in"
        proxy = policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/name") \
            == "penstock-proxy"
        for rule in policy["spec"]["ingress"]:
            opened = {port["port"] for port in rule.get("ports", [])} or {"every port"}
            if not rule.get("from") and not (proxy and opened == {"http"}):
                yield f"NetworkPolicy {name_of(policy)}: {opened} for everybody"
            if "server" in opened:
                yield f"NetworkPolicy {name_of(policy)}: a way past the gate"
            for peer in rule.get("from", []):
                if "podSelector" not in peer or \
                        ("admin" in opened) + ("scaler" in opened) + ("http" in opened) > 1:
                    yield f"NetworkPolicy {name_of(policy)}: wider than it need be"
    for deployment in m.all("Deployment"):
        if not any(m.pods(policy["spec"]["podSelector"]["matchLabels"]) == [deployment]
                   for policy in m.all("NetworkPolicy")):
            yield f"{name_of(deployment)}: no NetworkPolicy"


def scaling(m):
    target = m.cluster["concurrency_target"]
    settings = m.cluster["autoscaling"]
    proxy = m.get("Deployment", "penstock-proxy")["spec"]
    most_proxies = proxy["replicas"] + proxy["strategy"]["rollingUpdate"]["maxSurge"]
    model = m.get("Deployment", "penstock-model")
    if int(option(container(model, "sidecar"), "concurrency-limit")) < target * most_proxies:
        yield "the sidecar refuses what the proxies of a rollout may send"
    if target < m.model_config["runtime"]["predict_concurrency"]:
        yield "the predict concurrency is never reached"
    scalers = m.all("ScaledObject", "HorizontalPodAutoscaler")
    if scalers and "replicas" in model["spec"]:
        yield "the Deployment sets back what the autoscaler decided"
    for scaler in scalers:
        reference = scaler["spec"]["scaleTargetRef"]
        if m.get(reference["kind"], reference["name"]) is None:
            yield f"{name_of(scaler)}: scales nothing"
    for scaler in m.all("ScaledObject"):
        yield from scaled_object(m, scaler["spec"], settings)
    for scaler in m.all("HorizontalPodAutoscaler"):
        yield from autoscaler(m, scaler["spec"], settings)


def scaled_object(m, spec, settings):
    if (spec["minReplicaCount"], spec["maxReplicaCount"]) != \
            (settings["min_replicas"], settings["max_replicas"]):
        yield "the ScaledObject's bounds are not the proxy's"
    for trigger in spec["triggers"]:
        metadata = trigger["metadata"]
        host, _, port = metadata["scalerAddress"].partition(":")
        service = m.get("Service", host.partition(".")[0])
        if trigger["type"] not in ("external", "external-push"):
            yield "a trigger that is not ours"
        if service is None or host != f"{name_of(service)}.{m.namespace}.svc.cluster.local" \
                or int(port) not in [each["port"] for each in service["spec"]["ports"]]:
            yield "scalerAddress leads nowhere"
        elif service["spec"].get("clusterIP") == "None":
            yield "KEDA would take turns between the proxies"
        if metadata["cluster"] != m.cluster["name"] \
                or metadata.get("metric", "demand") not in ("demand", "desired") \
                or not all(isinstance(value, str) for value in metadata.values()):
            yield "the trigger's metadata"


def autoscaler(m, spec, settings):
    if (spec["minReplicas"], spec["maxReplicas"]) != \
            (max(1, settings["min_replicas"]), settings["max_replicas"]):
        yield "the HPA's bounds are not the proxy's"
    metric = spec["metrics"][0]["external"]
    wanted = m.cluster["concurrency_target"] * settings["target_utilization"] * 10
    if metric["target"] != {"type": "AverageValue", "averageValue": f"{wanted}m"}:
        yield "the HPA's target is not concurrency_target times target_utilization"
    if metric["metric"]["selector"]["matchLabels"] != {"cluster": m.cluster["name"]}:
        yield "the HPA asks for another cluster"


ALL = (selectors, declared_ports, addresses, volumes, draining, starting, hardening, closed_ports, scaling)


def problems(m):
    return [problem for check in ALL for problem in check(m)]
