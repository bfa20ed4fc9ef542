#!/usr/bin/env bash
# Installs the peers of the interop tests by package name, below .peers/ of the repository. Safe to repeat: what is there stays.
#   scripts/interop/install.sh [PEER …]     PEER: libcoap aiocoap leshan node-lib openssl gnutls tinydtls pion (default: all)
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

tinydtls() { # a program of ours over its sources, which a Python package brings
  local at=$peers/tinydtls
  cmp -s "$here/peers/tinydtls.c" "$at/tinydtls.c" && return
  debian cc gcc && rm -rf "$at" && mkdir -p "$at" && python3 -m venv "$at/python" &&
    retry "$at/python/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary DTLSSocket -d "$at" DTLSSocket==0.2.3 &&
    tar xzf "$at"/*.tar.gz -C "$at" && mv "$at"/dtlssocket-*/DTLSSocket/tinydtls "$at/sources" &&
    (cd "$at/sources" && cc -w -O2 -D_GNU_SOURCE -DDTLSv12 -DWITH_SHA256 -DSHA2_USE_INTTYPES_H -DDTLS_CHECK_CONTENTTYPE -I. \
      -o "$at/tinydtls" "$here/peers/tinydtls.c" ccm.c crypto.c dtls.c dtls_debug.c dtls_time.c hmac.c netq.c peer.c session.c \
      ecc/ecc.c aes/rijndael.c aes/rijndael_wrap.c sha2/sha2.c platform-specific/dtls_prng_posix.c) &&
    rm -rf "$at/python" "$at"/*.tar.gz "$at"/dtlssocket-* && cp "$here/peers/tinydtls.c" "$at/tinydtls.c"
}

pion() {
  debian go golang-go && mkdir -p "$peers/go" &&
    (cd "$here/peers/pion" && retry go build -o "$peers/go/pion-dtls" .)
}

[ $# -gt 0 ] || set -- libcoap aiocoap leshan node-lib openssl gnutls tinydtls pion
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
