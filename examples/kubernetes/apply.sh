#!/usr/bin/env bash
# Puts the manifests and this repository's modules into the cluster that kubectl talks to.
# usage: apply.sh [daemonset | sidecar]...     both without an argument
set -euo pipefail
cd "$(dirname "$0")"
pipelines=../../pipelines
[ $# -gt 0 ] || set -- daemonset sidecar

kubectl apply -f backends.yaml
files=()
for module in "$pipelines"/*/module.alloy; do
  files+=("--from-file=$(basename "$(dirname "$module")").alloy=$module")
done
kubectl -n ferroalloy create configmap ferroalloy-pipelines "${files[@]}" --dry-run=client -o yaml | kubectl apply -f -
for what in "$@"; do
  kubectl apply -f "$what.yaml"
  case "$what" in
    daemonset) kubectl -n ferroalloy rollout status daemonset/ferroalloy --timeout=120s ;;
    sidecar) kubectl -n ferroalloy rollout status deployment/worker-pool --timeout=120s ;;
  esac
done
