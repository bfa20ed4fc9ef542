#!/usr/bin/env bash
# Installs the peers of the interop tests by package name, below .peers/ of the repository. Safe to repeat: what is there stays.
#   scripts/interop/install.sh [PEER …]     PEER: libcoap aiocoap leshan node-lib openssl gnutls pion (default: all)
# A peer that cannot be had is reported and left out; the tests then skip it, or fail where CI=true.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
peers=$here/../../.peers
mkdir -p "$peers" && peers=$(cd "$peers" && pwd)
failed=()

# Tries a command up to three times: registries fail in passing.
retry() {
  local round
  for round in 1 2 3; do
    "$@" && return
    sleep $((round * 3))
  done
  return 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

libcoap() { # its builds with OpenSSL and GnuTLS come with it
  command -v coap-client-notls >/dev/null && command -v coap-server-notls >/dev/null && return
  as_root apt-get install -y -qq libcoap3-bin >/dev/null 2>&1 && return
  retry as_root apt-get update -qq && retry as_root apt-get install -y -qq libcoap3-bin >/dev/null
}

aiocoap() {
  local python=$peers/python
  "$python/bin/python" -c 'import aiocoap' 2>/dev/null && return
  python3 -m venv --clear "$python" &&
    retry "$python/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
}

leshan() { # brings Californium
  local java=$peers/java
  if ! cmp -s "$here/pom.xml" "$java/pom.xml" || [ ! -d "$java/lib" ]; then
    rm -rf "$java" && mkdir -p "$java" &&
      retry mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$java/lib" &&
      cp "$here/pom.xml" "$java/pom.xml" || return 1
  fi
  javac -nowarn -cp "$java/lib/*" -d "$java/classes" "$here"/peers/*.java
}

node-lib() {
  [ -d "$peers/npm/node_modules/lwm2m-node-lib" ] && return
  mkdir -p "$peers/npm" && echo '{"private":true}' >"$peers/npm/package.json" &&
    retry npm install --prefix "$peers/npm" --silent --no-audit --no-fund --ignore-scripts lwm2m-node-lib@1.4.0
}

debian() { # COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  as_root apt-get install -y -qq "$2" >/dev/null 2>&1 && return
  retry as_root apt-get update -qq && retry as_root apt-get install -y -qq "$2" >/dev/null
}

openssl() { debian openssl openssl; }
gnutls() { debian gnutls-cli gnutls-bin; }

pion() {
  debian go golang-go && mkdir -p "$peers/go" &&
    (cd "$here/peers/pion" && retry go build -o "$peers/go/pion-dtls" .)
}

[ $# -gt 0 ] || set -- libcoap aiocoap leshan node-lib openssl gnutls pion
for peer; do
  start=$SECONDS
  if declare -F "$peer" >/dev/null && "$peer"; then
    echo "$peer: ready ($((SECONDS - start)) s)"
  else
    echo "$peer: not installed ($((SECONDS - start)) s)"
    failed+=("$peer")
  fi
done
[ ${#failed[@]} = 0 ]
