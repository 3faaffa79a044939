#!/usr/bin/env bash
# A cluster of one node, without Docker and without systemd: etcd, kube-apiserver, controller manager, scheduler, kube-proxy, kubelet and a containerd of its own.
# Everything listens on the address of a bridge of its own, and lives under two folders. Root on Linux only.
#
#   node.sh up                 brings it up; prints the path of a kubeconfig
#   node.sh load ARCHIVE...    gives the node images (OCI archives)
#   node.sh kubelet stop|start
#   node.sh kill ID            kills a container, as the kernel does when memory is short
#   node.sh logs PART          etcd, kube-apiserver, kubelet, …
#   node.sh down               takes everything away again
#
# Debian packages: containerd runc containernetworking-plugins buildah conntrack nftables iproute2 openssl
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

# Short, since paths of sockets are limited.
run=/run/steno-cluster
state=/var/lib/steno-cluster
bridge=steno0
pods=10.244.0.0/24
address=10.244.0.1
services=10.96.0.0/24
node=steno-node
kubeconfig=$state/admin.kubeconfig
# Paths that some parts do not let be chosen.
fixed=(/var/lib/cni /var/lib/kubelet /var/log/containers)
parts=(etcd containerd kube-apiserver kube-controller-manager kube-scheduler kube-proxy network-policies kubelet)

die() { echo "$*" >&2; exit 1; }
kubectl() { "$(cat "$run/bin")/kubectl" --kubeconfig "$kubeconfig" "$@"; }
ctr() { command ctr --address "$run/containerd.sock" --namespace k8s.io "$@"; }

need() {
  [[ $(id -u) == 0 ]] || die "a node needs root; with Docker, npm run cluster:kind does not"
  [[ $(uname -s) == Linux ]] || die "a node needs Linux; with Docker, npm run cluster:kind does not"
  local missing=() program
  for program in containerd runc ctr buildah conntrack nft ip openssl; do command -v "$program" >/dev/null || missing+=("$program"); done
  [[ -x /usr/lib/cni/bridge ]] || missing+=(/usr/lib/cni/bridge)
  ((${#missing[@]} == 0)) || die "missing: ${missing[*]}; apt-get install containerd runc containernetworking-plugins buildah conntrack nftables iproute2 openssl"
  local controller
  for controller in cpu memory pids; do
    [[ -d /sys/fs/cgroup/$controller || -f /sys/fs/cgroup/cgroup.controllers ]] || die "no cgroup controller $controller"
  done
}

# part NAME PROGRAM ARGS...: starts it apart from this shell.
part() {
  local name=$1
  shift
  setsid nice -n 8 "$@" >"$state/log/$name" 2>&1 </dev/null &
  echo "$!" >"$run/$name.pid"
}

alive() { [[ -f $run/$1.pid ]] && kill -0 "$(cat "$run/$1.pid")" 2>/dev/null; }

# end NAME [SIGNAL]
end() {
  local name=$1 pid i
  [[ -f $run/$name.pid ]] || return 0
  pid=$(cat "$run/$name.pid")
  kill -"${2:-TERM}" "$pid" 2>/dev/null || true
  for ((i = 0; i < 50; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$run/$name.pid"
}

# until WHAT SECONDS COMMAND...
until_() {
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      for name in "${parts[@]}"; do alive "$name" || echo "$name does not run; its last lines:" "$(tail -n 5 "$state/log/$name" 2>/dev/null)" >&2; done
      die "$what took longer than allowed; see node.sh logs"
    fi
    sleep 0.2
  done
}

certificates() {
  cd "$state/pki"
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj /CN=steno-cluster -days 30 -out ca.crt
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
  issue apiserver /CN=kube-apiserver "subjectAltName=IP:$address,IP:${services%.*}.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  issue admin /O=system:masters/CN=admin
  issue kubelet "/O=system:nodes/CN=system:node:$node"
  issue controller /CN=system:kube-controller-manager
  issue scheduler /CN=system:kube-scheduler
  issue proxy /CN=system:kube-proxy
  cd "$here"
}

# issue NAME SUBJECT [EXTENSION]
issue() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(echo "${3:-extendedKeyUsage=clientAuth}") 2>/dev/null
  rm "$1.csr"
  [[ $1 == apiserver ]] && return
  cat >"$state/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: steno
contexts: [{name: steno, context: {cluster: steno, user: $1}}]
clusters: [{name: steno, cluster: {server: "https://$address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
END
  chmod 600 "$state/$1.kubeconfig"
}

network() {
  sysctl -qn net.ipv4.ip_forward >"$run/ip_forward"
  sysctl -qw net.ipv4.ip_forward=1
  # Traffic between pods passes the rules of Services too.
  if [[ -f /proc/sys/net/bridge/bridge-nf-call-iptables ]]; then
    sysctl -qn net.bridge.bridge-nf-call-iptables >"$run/bridge-nf"
    sysctl -qw net.bridge.bridge-nf-call-iptables=1
  fi
  ip link add "$bridge" type bridge
  ip address add "$address/24" dev "$bridge"
  ip link set "$bridge" up
}

files() {
  cat >"$state/cni/10-steno.conflist" <<END
{"cniVersion": "1.0.0", "name": "steno", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$state/ipam"}}
]}
END
  cat >"$state/containerd.toml" <<END
version = 2
root = "$state/containerd"
state = "$run/containerd"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:steno"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"
END
  cat >"$state/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzPort: 0
podLogsDir: $state/pod-logs
volumePluginDir: $state/volume-plugins
# Would write tables that nobody here needs.
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix://$run/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {}
localStorageCapacityIsolation: true
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: [${services%.*}.10]
clusterDomain: cluster.local
maxPods: 200
registerWithTaints: []
# Pods that are told to end are looked at often.
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
serializeImagePulls: false
END
  cat >"$state/proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
clusterCIDR: $pods
hostnameOverride: $node
bindAddress: $address
healthzBindAddress: $address:10256
metricsBindAddress: $address:10249
nodePortAddresses: [$address/32]
conntrack: {maxPerCore: 0, min: 0}
nftables: {minSyncPeriod: 200ms}
END
}

snapshotter() {
  local probe=$state/probe
  mkdir -p "$probe"/{l,u,w,m}
  if mount -t overlay overlay -o "lowerdir=$probe/l,upperdir=$probe/u,workdir=$probe/w" "$probe/m" 2>/dev/null; then
    umount "$probe/m"
    echo overlayfs
  else
    echo native
  fi
  rm -rf "$probe"
}

pause_image() {
  local folder=$state/pause
  mkdir -p "$folder"
  cp "$(cat "$run/bin")/pause" "$folder/pause"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$folder/Containerfile"
  BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs buildah --root "$folder/storage" --runroot "$folder/run" bud --quiet --format oci --tag localhost/pause:steno "$folder" >/dev/null
  STORAGE_DRIVER=vfs buildah --root "$folder/storage" --runroot "$folder/run" push --quiet localhost/pause:steno "oci-archive:$folder/image.tar:localhost/pause:steno"
  ctr images import "$folder/image.tar" >/dev/null
  rm -rf "$folder"
}

start_kubelet() {
  part kubelet "$(cat "$run/bin")/kubelet" --config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.kubeconfig" --hostname-override "$node" --node-ip "$address" --root-dir "$state/kubelet" --cert-dir "$state/kubelet-pki" --v 1
}

# After a restart of the machine nothing of it runs, and nothing says so any more: its state would be taken for that of the next.
remove_state() { rm -rf --one-file-system "$state"; }

up() {
  need
  [[ ! -e $run ]] || die "it is up, or was not taken down: $0 down"
  [[ ! -d /sys/fs/cgroup/cpu/kubepods && ! -d /sys/fs/cgroup/kubepods ]] || die "another kubelet has pods on this machine (kubepods in /sys/fs/cgroup)"
  remove_state
  local assets bin folder
  assets=$("$here/../kubernetes/assets.sh")
  bin=$("$here/binaries.sh")
  # What fails or is stopped on the way is taken down again. In a shell that a signal ends, the status says nothing of it.
  trap 'echo "taking down what is there" >&2; down' EXIT
  mkdir -p "$run" "$state"/{pki,log,cni,etcd,pod-logs}
  echo "$bin" >"$run/bin"
  ls -d /var/run/netns/cni-* >"$run/netns-before" 2>/dev/null || true
  for folder in "${fixed[@]}"; do [[ -e $folder ]] || echo "$folder" >>"$run/made"; done
  certificates
  network
  files
  part etcd "$assets/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --log-level=error --listen-client-urls="http://$address:2379" --advertise-client-urls="http://$address:2379" --listen-peer-urls="http://$address:2380" --initial-advertise-peer-urls="http://$address:2380" --initial-cluster="default=http://$address:2380"
  part containerd containerd --config "$state/containerd.toml"
  part kube-apiserver "$assets/kube-apiserver" --etcd-servers="http://$address:2379" --bind-address="$address" --advertise-address="$address" --secure-port=6443 \
    --tls-cert-file="$state/pki/apiserver.crt" --tls-private-key-file="$state/pki/apiserver.key" --client-ca-file="$state/pki/ca.crt" \
    --kubelet-client-certificate="$state/pki/admin.crt" --kubelet-client-key="$state/pki/admin.key" --cert-dir="$state/pki" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true --kubelet-preferred-address-types=InternalIP --service-cluster-ip-range="$services" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$state/pki/sa.pub" --service-account-signing-key-file="$state/pki/sa.key" \
    --endpoint-reconciler-type=lease --v=0
  until_ "kube-apiserver" 60 kubectl get --raw /readyz
  part kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$state/controller.kubeconfig" --bind-address="$address" --service-account-private-key-file="$state/pki/sa.key" --root-ca-file="$state/pki/ca.crt" \
    --cluster-signing-cert-file="$state/pki/ca.crt" --cluster-signing-key-file="$state/pki/ca.key" --use-service-account-credentials --leader-elect=false --cert-dir="$state/pki/controller" --node-monitor-grace-period=20s
  part kube-scheduler "$bin/kube-scheduler" --kubeconfig="$state/scheduler.kubeconfig" --bind-address="$address" --leader-elect=false --cert-dir="$state/pki/scheduler"
  part kube-proxy "$bin/kube-proxy" --config="$state/proxy.yaml"
  part network-policies "$here/../../node_modules/.bin/node" --disable-warning=ExperimentalWarning "$here/network-policies.ts" "$bin/kubectl" "$kubeconfig"
  until_ containerd 30 ctr version
  pause_image
  start_kubelet
  until_ "the node" 60 bash -c "[[ \$('$bin/kubectl' --kubeconfig '$kubeconfig' get node $node -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}') == True ]]"
  until_ "the default service account" 30 kubectl -n default get serviceaccount default
  trap - EXIT
  echo "$kubeconfig"
}

down() {
  trap - EXIT
  local pid each name i pids
  # Without it nothing here is known to be ours.
  [[ -e $run ]] || { echo "it is not up" >&2; [[ -d /sys/fs/cgroup/cpu/kubepods || -d /sys/fs/cgroup/kubepods ]] || remove_state; return 0; }
  end kubelet
  # Every process of a pod is in a cgroup below kubepods, which was not there before. Until none is left: a shim may be about to start one.
  for ((i = 0; i < 50; i++)); do
    mapfile -t pids < <(find /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u)
    ((${#pids[@]} > 0)) || break
    kill -KILL "${pids[@]}" 2>/dev/null || true
    sleep 0.1
  done
  for name in network-policies kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd containerd; do end "$name" KILL; done
  # What containerd leaves behind names its socket on the command line.
  for pid in $(pgrep -f "^/usr/bin/containerd-shim.* -address $run/containerd.sock" || true); do kill -KILL "$pid" 2>/dev/null || true; done
  for each in $(awk -v run="$run/" -v state="$state/" 'index($2, run) == 1 || index($2, state) == 1 { print $2 }' /proc/self/mounts | sort -r); do umount --lazy "$each" 2>/dev/null || true; done
  if [[ -f $run/netns-before ]]; then
    for each in /var/run/netns/cni-*; do
      if [[ -e $each ]] && ! grep -qxF "$each" "$run/netns-before"; then umount --lazy "$each" 2>/dev/null || true; rm -f "$each"; fi
    done
  fi
  for name in $(nft list tables 2>/dev/null | awk '$3 ~ /^(kube-proxy|steno-cluster)$/ { print $2 "/" $3 }'); do nft delete table "${name%/*}" "${name#*/}" || true; done
  ip link delete "$bridge" 2>/dev/null || true
  [[ ! -f $run/ip_forward ]] || sysctl -qw net.ipv4.ip_forward="$(cat "$run/ip_forward")"
  [[ ! -f $run/bridge-nf ]] || sysctl -qw net.bridge.bridge-nf-call-iptables="$(cat "$run/bridge-nf")"
  for each in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/k8s.io; do [[ ! -d $each ]] || find "$each" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
  if [[ -f $run/made ]]; then while read -r each; do rm -rf "$each"; done <"$run/made"; fi
  rm -rf "$run" "$state"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  load)
    shift
    for archive in "$@"; do ctr images import "$archive" >/dev/null; done
    ;;
  kubelet)
    case ${2:-} in
      stop) end kubelet ;;
      start) start_kubelet ;;
      *) die "kubelet stop, or kubelet start" ;;
    esac
    ;;
  kill) ctr tasks kill --signal SIGKILL "${2:?which container}" ;;
  logs) exec cat "$state/log/${2:?which part: ${parts[*]}}" ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
